// Without this script the page follows the system's theme. With it a reader can choose; the choice is kept, where it may be.
{
  const dark = document.getElementById("dark");
  const scheme = document.querySelector("meta[name=color-scheme]");
  const media = { auto: dark.media, light: "not all", dark: "screen" };
  const schemes = { auto: scheme.content, light: "light", dark: "only dark" };
  const kept = (...value) => {
    try { return value.length ? localStorage.setItem("theme", ...value) : localStorage.getItem("theme"); } catch { return null; }
  };
  const choose = (theme) => { dark.media = media[theme]; scheme.content = schemes[theme]; };
  const first = Object.hasOwn(media, kept()) ? kept() : "auto";
  choose(first);
  addEventListener("DOMContentLoaded", () => {
    const group = document.createElement("div");
    group.className = "theme";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Theme");
    for (const theme of Object.keys(media)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = theme;
      button.setAttribute("aria-pressed", theme === first);
      button.addEventListener("click", () => {
        choose(theme);
        kept(theme);
        for (const other of group.children) other.setAttribute("aria-pressed", other === button);
      });
      group.append(button);
    }
    document.querySelector(".masthead").prepend(group);
  });
}
