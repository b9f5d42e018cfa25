// What the SQL page adds to the editor: completion, the mark of an error, and what is selected.  Loaded with the editor.
import {
  closeCompletion,
  completionStatus,
  selectedCompletionIndex,
  type Completion,
  type CompletionContext,
  type CompletionResult,
} from "@codemirror/autocomplete";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState, Prec, type Extension } from "@codemirror/state";
import { EditorView, keymap } from "@codemirror/view";
import { FUNCTIONS, tablesIn, wantedAt } from "./functions";
import { pieceAt, split } from "./split";

export interface Sources {
  endpoints(): Promise<{ name: string; task: string }[]>;
  tables(): Promise<string[]>;
  columns(table: string): Promise<{ name: string; type: string }[]>;
}
export interface Hands {
  extensions: Extension[];
  /** The selection, or null when nothing is selected. */
  selection(): { from: number; to: number } | null;
  /** No more completion of what was typed: it runs. */
  close(): void;
  mark(found: { from: number; to: number; message: string } | null, show: boolean): void;
}

export function hands(sources: Sources, moved: (selected: boolean) => void): Hands {
  let view: EditorView | undefined;
  const watch = EditorView.updateListener.of((update) => {
    view = update.view;
    if (update.docChanged) queueMicrotask(() => unmark(update.view));
    if (update.selectionSet || update.docChanged) moved(!update.state.selection.main.empty);
  });
  const known = EditorView.domEventHandlers({
    focus: (_, found) => void (view = found),
    // What is still being looked for must not open over the rest of the page.
    blur: (_, found) => void setTimeout(() => closeCompletion(found)),
  });
  // One and the same each time: CodeMirror knows a source by its identity.
  const data = [{ autocomplete: (context: CompletionContext) => complete(context, sources) }];
  let marked = false;
  const unmark = (found: EditorView) => {
    if (marked) found.dispatch(setDiagnostics(found.state, []));
    marked = false;
  };
  return {
    extensions: [
      watch,
      known,
      lintGutter(),
      Prec.highest(keymap.of([{ key: "Enter", run: newLine }])),
      EditorState.languageData.of(() => data),
    ],
    selection() {
      const main = view?.state.selection.main;
      return main && !main.empty ? { from: main.from, to: main.to } : null;
    },
    close: () => void (view && closeCompletion(view)),
    mark(found, show) {
      if (!view) return;
      unmark(view);
      if (!found || found.to > view.state.doc.length) return;
      view.dispatch(setDiagnostics(view.state, [{ ...found, severity: "error" }]));
      marked = true;
      if (!show) return;
      view.dispatch({ selection: { anchor: found.from }, effects: EditorView.scrollIntoView(found.from, { y: "center" }) });
      view.focus();
    },
  };
}

/** Enter after a word that is whole is a new line, and takes no keyword that happens to begin like it. */
function newLine(view: EditorView): boolean {
  if (completionStatus(view.state) !== "active" || selectedCompletionIndex(view.state) !== 0) return false;
  const { head } = view.state.selection.main;
  const word = /\w+$/.exec(view.state.sliceDoc(Math.max(0, head - 100), head))?.[0];
  if (!word) return false;
  const others = view.state.doc.toString().match(/\w+/g)?.filter((one) => one === word).length ?? 0;
  if (others > 1) closeCompletion(view);
  return false;
}

async function complete(context: CompletionContext, sources: Sources): Promise<CompletionResult | null> {
  const text = context.state.doc.toString();
  const wanted = wantedAt(text.slice(0, context.pos));
  if (!wanted) return null;
  if (wanted.kind === "endpoint") {
    const options = (await sources.endpoints()).map((one) => ({ label: one.name, detail: one.task, type: "constant" }));
    return { from: wanted.from, options, validFor: /^[^'\n]*$/ };
  }
  if (wanted.kind === "table") {
    const options = (await sources.tables()).map((label) => ({ label, type: "class" }));
    return options.length ? { from: wanted.from, options, validFor: /^[\w.`-]*$/ } : null;
  }
  if (!wanted.typed && !context.explicit) return null;
  const piece = pieceAt(split(text), context.pos);
  const columns = await Promise.all(tablesIn(piece?.text ?? "").map((one) => sources.columns(one).catch(() => [])));
  const options: Completion[] = [
    ...columns.flat().map((one) => ({ label: one.name, detail: one.type, type: "property", boost: 2 })),
    ...FUNCTIONS.map(([label, takes, gives]) => ({
      label,
      detail: `(${takes}) → ${gives}`,
      type: "function",
      boost: 1,
      apply: label === "ai_query" ? "ai_query('" : `${label}(`,
    })),
  ];
  return { from: wanted.from, options, validFor: /^\w*$/ };
}
