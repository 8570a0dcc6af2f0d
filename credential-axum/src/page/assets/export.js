// The whole activity of a key as a table for spreadsheets: every entry that the API has, or no file.

import { t } from "./ui.js";
import { fileStem, saveAs } from "./file.js";
import { eventWords } from "./key-activity.js";

const PAGE = 100;

/** Loads all, says how many are there so far, and saves them; how many there were. */
export async function exportActivity({ api, id, name, index, isWanted, onCount }) {
  const rows = [];
  let cursor;
  do {
    const { items, next_cursor: next } = await api.events(id, PAGE, cursor);
    if (!isWanted()) return null;
    rows.push(...items.map((event) => cells(event, index)));
    onCount(rows.length);
    cursor = next;
  } while (cursor);
  const columns = ["when", "who", "what", "action", "details", "number", "hash"].map((column) => t(`export.${column}`));
  // The mark in front tells spreadsheets that it is UTF-8.
  saveAs(`${fileStem(name)}-activity.csv`, "text/csv;charset=utf-8", `\ufeff${[columns, ...rows].map(line).join("")}`);
  return rows.length;
}

const cells = (event, index) => [event.at, event.actor, textOf(eventWords(event, index)), event.action, event.details && JSON.stringify(event.details), event.seq, event.hash];

/** What somebody who cannot see the page would hear. */
function textOf(view) {
  if (Array.isArray(view)) return view.map(textOf).join("");
  if (view === null || view === undefined || typeof view === "boolean") return "";
  if (typeof view !== "object") return String(view);
  return view.props["aria-hidden"] === "true" ? "" : textOf(view.props.children);
}

/** RFC 4180. A spreadsheet would take a name that begins like a formula for one. */
const line = (values) => `${values.map((value) => {
  const text = String(value ?? "");
  return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}).join(",")}\r\n`;
