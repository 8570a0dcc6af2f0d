// Files that the page makes by itself, and their names.

export function saveAs(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/**
 * The name as a part of a file's name. File systems take 255 bytes, and browsers add to what they are
 * given while they load, so it is cut, at whole characters as people see them.
 */
export function fileStem(name, most = 180) {
  const stem = name.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{N}\p{M}]+/gu, "-").replace(/^-+|-+$/g, "");
  const bytes = (text) => new TextEncoder().encode(text).length;
  let cut = "";
  let length = 0;
  const characters = Intl.Segmenter
    ? Array.from(new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(stem), ({ segment }) => segment)
    : [...stem];
  for (const segment of characters) {
    length += bytes(segment);
    if (length > most) break;
    cut += segment;
  }
  return cut.replace(/-+$/, "") || "api-key";
}
