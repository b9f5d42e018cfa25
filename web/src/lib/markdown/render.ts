// Markdown to a piece of a page.  What a model writes is anybody's text: nothing of it may run, load or look like ours.
import DOMPurify, { type Config } from "dompurify";
import { Marked } from "marked";

const marked = new Marked({ gfm: true, breaks: true, async: false });

const CONFIG: Config & { RETURN_DOM_FRAGMENT: true } = {
  RETURN_DOM_FRAGMENT: true,
  ALLOWED_TAGS: [
    "a", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5",
    "h6", "hr", "i", "img", "input", "kbd", "li", "ol", "p", "pre", "s", "span", "strong", "sub", "summary", "sup",
    "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
  ],
  ALLOWED_ATTR: ["href", "src", "alt", "title", "align", "start", "type", "checked", "disabled", "class"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
};
const LINK = /^(?:https?:|mailto:)/i;
const PICTURE = /^data:image\/(?:png|jpe?g|gif|webp);/i;
const HEADINGS = /^H[1-6]$/;

/** A fragment that is safe to put into the page. */
export function render(markdown: string): DocumentFragment {
  const fragment = DOMPurify.sanitize(marked.parse(markdown) as string, CONFIG);
  for (const element of fragment.querySelectorAll("*")) mend(element);
  return fragment;
}

function mend(element: Element): void {
  const kept = element.localName === "code" ? (/^language-[\w+#.-]{1,30}$/.exec(element.className)?.[0] ?? "") : "";
  element.removeAttribute("class");
  if (kept) element.className = kept;
  if (element instanceof HTMLAnchorElement) mendLink(element);
  else if (element instanceof HTMLImageElement) mendPicture(element);
  else if (element instanceof HTMLInputElement) mendBox(element);
  else if (HEADINGS.test(element.nodeName)) mendHeading(element);
  else if (element instanceof HTMLTableElement) wrap(element);
}

function mendLink(link: HTMLAnchorElement): void {
  const href = link.getAttribute("href") ?? "";
  if (!LINK.test(href)) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
}

/** No request leaves the host: a picture that is elsewhere becomes a link to it. */
function mendPicture(picture: HTMLImageElement): void {
  const source = picture.getAttribute("src") ?? "";
  if (PICTURE.test(source)) return;
  const text = picture.alt || source;
  if (!LINK.test(source)) {
    picture.replaceWith(text);
    return;
  }
  const link = document.createElement("a");
  link.href = source;
  link.textContent = text;
  mendLink(link);
  picture.replaceWith(link);
}

/** Only the boxes of task lists are inputs. */
function mendBox(box: HTMLInputElement): void {
  if (box.type !== "checkbox") box.remove();
  box.disabled = true;
  box.setAttribute("aria-label", box.checked ? "☑" : "☐");
}

/** An answer's headings are below those of the page. */
function mendHeading(heading: Element): void {
  heading.setAttribute("role", "heading");
  heading.setAttribute("aria-level", String(Math.min(6, Number(heading.nodeName[1]) + 2)));
}

function wrap(table: HTMLTableElement): void {
  const box = document.createElement("div");
  box.className = "table-scroll";
  box.tabIndex = 0;
  table.replaceWith(box);
  box.append(table);
}
