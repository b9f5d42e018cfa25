// CodeMirror, put together once for all editors.  https://codemirror.net/docs/ref/
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, isolateHistory } from "@codemirror/commands";
import { json, jsonParseLinter } from "@codemirror/lang-json";
import { sql } from "@codemirror/lang-sql";
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { linter, lintGutter, lintKeymap } from "@codemirror/lint";
import { searchKeymap } from "@codemirror/search";
import { Compartment, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { Databricks } from "../sql/dialect";

export interface Editor {
  setValue(text: string): void;
  extend(extensions: Extension[]): void;
  destroy(): void;
}
export interface Wanted {
  value: string;
  label: string;
  language: "json" | "sql";
  changed(text: string): void;
  /** Ctrl-Enter or Cmd-Enter. */
  submit(): void;
}

const STYLE = HighlightStyle.define([
  { tag: [tags.propertyName, tags.attributeName], color: "light-dark(#0b5a8a, #8cc8f0)" },
  { tag: [tags.string], color: "light-dark(#1b6e3c, #8fd6a4)" },
  { tag: [tags.number, tags.bool, tags.null], color: "light-dark(#8a3d00, #f0b07a)" },
  { tag: [tags.keyword, tags.operatorKeyword], color: "light-dark(#7a1f7a, #d9a3e8)" },
  { tag: [tags.comment], color: "light-dark(#5a6463, #9aa5a7)", fontStyle: "italic" },
  { tag: [tags.typeName, tags.standard(tags.name)], color: "light-dark(#0b5a8a, #8cc8f0)" },
  { tag: [tags.invalid], color: "light-dark(#b3261e, #ff9a90)" },
]);

const LOOK = EditorView.theme({
  "&": {
    color: "var(--text)",
    border: "1px solid var(--line-strong)",
    borderRadius: "var(--radius)",
    background: "var(--surface)",
    fontFamily: "var(--mono)",
    fontSize: "13.5px",
    minHeight: "calc(var(--rows) * 1.5em + 16px)",
    maxHeight: "max(60vh, calc(var(--rows) * 1.5em + 16px))",
  },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-content, .cm-gutter": { minHeight: "calc(var(--rows) * 1.5em + 14px)" },
  ".cm-content": { caretColor: "var(--text)", fontFamily: "var(--mono)" },
  ".cm-scroller": { fontFamily: "inherit", lineHeight: "1.5" },
  ".cm-gutters": { background: "var(--sunken)", color: "var(--muted)", borderRight: "1px solid var(--line)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "light-dark(#bfe3df, #2a5654)",
  },
  ".cm-tooltip": { background: "var(--surface)", color: "var(--text)", border: "1px solid var(--line)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--accent)", color: "var(--on-accent)" },
  ".cm-panels": { background: "var(--sunken)", color: "var(--text)" },
});

const LANGUAGES: Record<Wanted["language"], () => Extension[]> = {
  // An empty editor is no mistake yet.
  json: () => [json(), linter((view) => (view.state.doc.toString().trim() ? jsonParseLinter()(view) : [])), lintGutter()],
  sql: () => [sql({ dialect: Databricks, upperCaseKeywords: true })],
};

export function create(parent: HTMLElement, wanted: Wanted): Editor {
  const more = new Compartment();
  // In a shadow root CodeMirror's styles are sheets that the script adopts; in a document they would be `style`
  // elements, which the policy forbids.
  const root = parent.attachShadow({ mode: "open" });
  const view = new EditorView({
    parent: root,
    root,
    doc: wanted.value,
    extensions: [
      keymap.of([{ key: "Mod-Enter", run: () => (wanted.submit(), true) }]),
      lineNumbers(),
      history(),
      drawSelection(),
      indentOnInput(),
      bracketMatching(),
      closeBrackets(),
      autocompletion(),
      syntaxHighlighting(STYLE),
      LOOK,
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": wanted.label }),
      // Tab leaves the editor, so that it is no trap for whoever has only a keyboard.
      keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap, ...searchKeymap]),
      LANGUAGES[wanted.language](),
      more.of([]),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) wanted.changed(update.state.doc.toString());
      }),
    ],
  });
  return {
    setValue(text) {
      const now = view.state.doc.toString();
      if (text === now) return;
      // One step of its own: undoing it brings back what was typed.
      view.dispatch({ changes: { from: 0, to: now.length, insert: text }, annotations: isolateHistory.of("full") });
    },
    extend: (extensions) => view.dispatch({ effects: more.reconfigure(extensions) }),
    destroy: () => view.destroy(),
  };
}
