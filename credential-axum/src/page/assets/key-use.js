// What a key does: a sentence, a chart, a table for those who cannot see it, and why calls were refused.

import { DAY_MS, ago, bdi, button, h, now, number, t, time } from "./ui.js";

const DAYS = 30;
const dayName = new Intl.DateTimeFormat(document.documentElement.lang, { month: "short", day: "numeric", timeZone: "UTC" });

/** The last 30 days in UTC, as the server counts them; days without a call are not in its answer. */
function lastDays(days) {
  const known = new Map(days.map((day) => [day.date, day]));
  return Array.from({ length: DAYS }, (_, at) => {
    const date = new Date(now() - (DAYS - 1 - at) * DAY_MS).toISOString().slice(0, 10);
    return known.get(date) ?? { date, allowed: 0, denied: 0 };
  });
}

const sum = (days, name) => days.reduce((total, day) => total + day[name], 0);
const named = ({ date }) => dayName.format(new Date(`${date}T00:00:00Z`));

export function useView({ usage, refusals, key, index, isWhy, toggleWhy }) {
  // A host may keep no record.
  if (!usage) return h("p", { class: "sentence" }, t("use.unknown"), " ", lastUse(key.last_used_at));
  const days = lastDays(usage.days);
  const [allowed, denied] = [sum(days, "allowed"), sum(days, "denied")];
  const last = usage.last_used_at ?? key.last_used_at;
  const attempts = refusals.reduce((total, { count = 1 }) => total + count, 0);
  return [
    h("p", { class: "sentence" }, sentence(allowed, denied), " ", lastUse(last), " ",
      !denied && attempts > 0 && [t("use.attempts", { count: attempts }), " "],
      refusals.length > 0 && button({ class: "small", id: "why", "aria-expanded": String(isWhy), "aria-controls": "refusals", onclick: toggleWhy }, t("use.why"))),
    h("div", { id: "refusals" }, isWhy && h("ul", { class: "refusals" }, refusals.map((refusal) => refusalView(refusal, index)))),
    allowed + denied > 0 && chart(days),
    allowed + denied > 0 && h("table", { class: "unseen" }, h("caption", {}, t("use.table")),
      h("thead", {}, h("tr", {}, ["day", "allowed", "refused"].map((column) => h("th", { scope: "col" }, t(`use.${column}`))))),
      h("tbody", {}, days.filter((day) => day.allowed + day.denied > 0).map((day) => h("tr", {}, h("th", { scope: "row" }, h("time", { datetime: day.date }, named(day))), h("td", {}, number(day.allowed)), h("td", {}, number(day.denied)))))),
  ];
}

const lastUse = (at) => (at ? [t("use.last", { ago: ago(at) }), "."] : t("use.never"));

function sentence(allowed, denied) {
  if (!allowed && !denied) return t("use.none");
  return t("use.counts", { allowed, denied, refused: h("span", { class: denied ? "attention" : "" }, t("use.counts.refused", { count: denied })) });
}

/** Bars of allowed calls with the refused ones on top. Its facts are in the table, so it is hidden from screen readers. */
function chart(days) {
  const [width, height, gap] = [600, 72, 4];
  const step = width / DAYS;
  const most = Math.max(...days.map((day) => day.allowed + day.denied));
  // What is there is seen, however little it is.
  const size = (value) => (value ? Math.max(2, (value / most) * height) : 0);
  return h("figure", { class: "chart", "aria-hidden": "true" },
    h("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" },
      h("path", { class: "ground", d: `M0 ${height - 0.5}H${width}` }),
      days.map((day, at) => {
        const [low, high] = [size(day.allowed), size(day.denied)];
        const bar = { x: at * step + gap / 2, width: step - gap };
        return h("g", {}, h("title", {}, t("use.on", { day: named(day), allowed: day.allowed, denied: day.denied })),
          h("rect", { x: at * step, width: step, y: 0, height, class: "area" }),
          low > 0 && h("rect", { ...bar, y: height - low, height: low, class: "allowed" }),
          high > 0 && h("rect", { ...bar, y: Math.max(0, height - low - high), height: high, class: "refused" }));
      })),
    h("figcaption", { class: "muted" }, h("span", {}, h("time", { datetime: days[0].date }, named(days[0]))),
      h("span", { class: "most" }, t("use.most", { count: most })), h("span", {}, t("use.today"))));
}

/** The API's reasons that have words of their own. */
const REASONS = new Set(["scope_missing", "address_not_allowed", "expired", "disabled", "revoked", "secret_ended", "wrong_secret", "unknown_scope", "scope_conflict", "token_expired", "token_revoked", "other_environment", "other_api_type", "tenant_suspended", "assertion_invalid", "assertion_replayed", "wrong_signature", "no_keys"]);

function refusalView({ at, last_at: last, count = 1, reason, needed_scope: scope, method, address }, index) {
  const name = scope ? bdi(index?.scopes.get(scope)?.name ?? scope) : "";
  const key = reason === "scope_missing" && !scope ? "refusal.scope_missing.any" : REASONS.has(reason) ? `refusal.${reason}` : "refusal.other";
  const facts = [method && h("code", { translate: false }, method), address && t("refusal.from", { address: h("code", { translate: false }, address) }), count > 1 && t("refusal.times", { count })].filter(Boolean);
  return h("li", {}, h("span", {}, time(last ?? at, ago(last ?? at))), " ",
    h("span", {}, t(key, { scope: name, reason: h("code", { translate: false }, reason) })), " ", facts.length > 0 && h("span", { class: "muted" }, facts.map((fact, each) => [each ? " · " : "", fact])));
}
