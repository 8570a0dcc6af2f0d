// Says so when the page's modules did not load. No module itself, so that it needs none of them.
{
  const check = () => {
    const place = document.getElementById("incomplete");
    if (!place || document.documentElement.dataset.started) return;
    const words = document.createElement("p");
    words.textContent = place.dataset.words;
    const reload = document.createElement("button");
    reload.type = "button";
    reload.textContent = place.dataset.reload;
    reload.addEventListener("click", () => location.reload());
    const note = document.createElement("div");
    note.className = "note danger";
    const inner = document.createElement("div");
    inner.append(words, reload);
    note.append(inner);
    document.getElementById("root")?.replaceChildren();
    place.replaceChildren(note);
  };
  // Modules have run, or have failed, before the page counts as loaded.
  if (document.readyState === "complete") check();
  else addEventListener("load", check);
  // Where one hangs it never does.
  setTimeout(check, 20_000);
}
