// The secrets of a key: which are there, what each did, and whether one can be ended.

import { DAY_MS, ago, button, day, h, isLive, now, settings, t, time } from "./ui.js";
import { proofRows } from "./key-proofs.js";

export function secretsView({ key, end }) {
  const secrets = [...key.secrets].sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
  const live = secrets.filter(isLive);
  const others = proofRows(key);
  if (!secrets.length && !others.length) return h("p", { class: "muted" }, t("secrets.none"));
  // The last way in can only be closed together with the key.
  const mayEnd = end && live.length + others.length > 1;
  return [
    h("ul", { class: "secrets" }, secrets.map((secret) => secretView(secret, { isLive: isLive(secret), newest: live[0], mayEnd, end })), others),
    end && live.length === 1 && !others.length && h("p", { class: "muted fine" }, t("secrets.only")),
    end && settings.selfService && !live.length && h("p", { class: "muted fine" }, t("secrets.none.others")),
  ];
}

function secretView(secret, { isLive: live, newest, mayEnd, end }) {
  const { selector, created_at: made, last_used_at: used, expires_at: until } = secret;
  const last = selector.slice(-4);
  return h("li", { class: live ? "" : "muted", key: selector },
    h("div", { class: "about" },
      h("strong", {}, t("secret.name", { last: h("code", { translate: false }, last) })),
      h("span", {}, t("secret.made", { when: time(made, day(made)) })),
      h("span", {}, used ? t("secret.used", { ago: time(used, ago(used)) }) : t("secret.unused")),
      until && h("span", {}, t(live ? "secret.ends" : "secret.ended", { when: time(until, day(until)) }))),
    live && secret !== newest && verdict(secret, newest),
    live && mayEnd && button({ class: "small", id: `end-${selector}`, "aria-label": t("end.now.of", { selector }), onclick: () => end(secret) }, t("end.now")));
}

/**
 * Whether an older secret can go. Not used for a day is not enough: a program that runs once a week would
 * still have it, unless the newer one has been at work since.
 */
function verdict({ last_used_at: used }, { last_used_at: newer }) {
  if (!used) return h("span", { class: "badge ok" }, t("secret.safe"));
  if (now() - new Date(used) < DAY_MS) return h("span", { class: "badge warn" }, t("secret.still", { ago: ago(used) }));
  return newer && new Date(newer) > new Date(used) ? h("span", { class: "badge ok" }, t("secret.safe")) : h("span", { class: "badge warn" }, t("secret.not_yet"));
}
