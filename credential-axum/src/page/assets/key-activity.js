// What was done to a key, and by whom, in plain words.

import { Component, bdi, button, day, exact, explain, h, hidden, icon, moment, t } from "./ui.js";
import { minus } from "./selection.js";

const MORE = 100;
/** Names that a line holds; the rest is counted. */
const MOST_NAMES = 6;

export class Activity extends Component {
  state = { older: [], more: undefined, error: null, exported: null, isExporting: false };

  componentWillUnmount() {
    this.isGone = true;
  }

  componentWillReceiveProps({ items }) {
    // Something new on top: what was loaded below it is still right, and its first lines may be there twice.
    if (items !== this.props.items) this.setState({ older: [], more: undefined });
  }

  next() {
    const { more } = this.state;
    return more === undefined ? this.props.more : more;
  }

  async load() {
    if (this.isBusy) return;
    this.isBusy = true;
    this.setState({ error: null });
    try {
      const { items, next_cursor: more } = await this.props.api.events(this.props.id, MORE, this.next());
      const first = items[0]?.seq;
      this.setState(({ older }) => ({ older: [...older, ...items], more }), () => this.base.querySelector?.(`[data-seq="${first}"]`)?.focus());
    } catch (error) {
      this.props.onRefused(error);
      this.setState({ error });
    } finally {
      this.isBusy = false;
    }
  }

  /** All of it as a file. What does not arrive whole is not saved. */
  async save() {
    if (this.isBusy) return;
    this.isBusy = true;
    this.setState({ error: null, exported: null, isExporting: true });
    try {
      const { exportActivity } = await import("./export.js");
      const count = await exportActivity({ ...this.props, isWanted: () => !this.isGone, onCount: (count) => this.setState({ exported: t("export.busy", { count }) }) });
      if (count !== null) this.setState({ exported: t("export.done", { count }) });
    } catch (error) {
      this.props.onRefused(error);
      this.setState({ error, exported: null });
    } finally {
      this.isBusy = false;
      this.setState({ isExporting: false });
    }
  }

  render({ items, index }, { older, error, exported, isExporting }) {
    return h("div", {},
      h("ol", { class: "events" }, [...items, ...older].map((event) => eventView(event, index))),
      h("div", { role: "alert" }, error && explain(error)),
      h("div", { class: "more" },
        this.next() && button({ class: "small", onclick: () => this.load() }, t(older.length ? "activity.more" : "activity.all")),
        items.length > 0 && button({ class: "small", "aria-disabled": isExporting ? "true" : undefined, onclick: () => this.save() }, icon("download"), t("export"))),
      h("p", { class: "muted", role: "status" }, exported));
  }
}

function eventView(event, index) {
  const { seq, at, actor } = event;
  return h("li", { key: seq, "data-seq": seq, tabindex: "-1" },
    at && h("time", { datetime: at, title: exact(at) }, moment(at)), " ",
    actor && [h("bdi", { class: "who-did" }, actor), hidden(":"), " "],
    h("span", {}, eventWords(event, index)));
}

export const eventWords = ({ action, details }, index) => (action ? words(action, details ?? {}, index) : t("event.unreadable"));

const code = (text) => h("code", { translate: false }, text);
const last = (selector) => code(selector.slice(-4));

function words(action, details, index) {
  switch (action) {
    case "credential.created": return t("event.created");
    case "credential.renamed": return t("event.renamed", { from: bdi(details.name_before), name: bdi(details.name) });
    case "credential.description_changed": return t("event.description");
    case "credential.expiry_changed": return details.expires_at ? t("event.expiry", { when: day(details.expires_at) }) : t("event.expiry.never");
    case "credential.scopes_changed": return change(details.scopes_before, details.scopes, (scope) => index?.scopes.get(scope)?.name ?? scope) ?? t("event.scopes");
    case "credential.networks_changed": return [t("event.networks"), " ", change(details.allowed_networks_before, details.allowed_networks, code) ?? ""];
    case "credential.secret_added": return [t("event.secret_added", { last: last(details.selector) }), (details.ends ?? []).map((end) => [" ", t("event.secret_added.ends", { last: last(end.selector), when: day(end.expires_at) })])];
    case "credential.secret_ended": return t("event.secret_ended", { last: last(details.selector) });
    case "credential.disabled": return t("event.disabled");
    case "credential.enabled": return t("event.enabled");
    case "credential.revoked": return t("event.revoked");
    case "credential.keys_changed": return t("event.keys");
    case "credential.workloads_changed": return t("event.workloads");
    default: return t("event.other", { action: code(action) });
  }
}

/** "+ Patients: read, − Bills: write"; null if nothing can be told. */
function change(before, after, name) {
  if (!Array.isArray(before) || !Array.isArray(after)) return null;
  const [from, to] = [new Set(before), new Set(after)];
  const all = [...[...minus(to, from)].map((each) => ["+", each]), ...[...minus(from, to)].map((each) => ["−", each])];
  const shown = all.slice(0, MOST_NAMES).map(([sign, each], at) => [at ? ", " : "", h("span", { class: "unseen" }, t(sign === "+" ? "event.added" : "event.removed"), " "), h("span", { "aria-hidden": "true" }, sign, " "), name(each)]);
  return all.length ? [shown, all.length > MOST_NAMES && [", ", t("and_more", { count: all.length - MOST_NAMES })]] : null;
}
