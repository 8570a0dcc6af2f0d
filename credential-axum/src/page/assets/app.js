// What the list and a key's page have in common: one dialog at a time, what was done, what went wrong.

import { connect } from "./api.js";
import { render } from "./preact.js";
import { Component, button, explain, h, icon, settings, startOver, t } from "./ui.js";

/** What a deployment allows that does not say. */
const USUAL = { limit: null, max_lifetime_days: null, max_overlap_seconds: 604_800, authentication: ["secret"], max_networks: 50 };

export class App extends Component {
  api = connect(settings.api, settings.expectedTenant);

  constructor(props) {
    super(props);
    document.addEventListener("focusin", ({ target }) => {
      this.lastFocus = { target, part: target.closest("section") };
    });
  }

  state = { dialog: null, note: null, trouble: null, foreign: false, policy: USUAL };

  /** Draws what the policy decides anew once it is known. */
  async loadPolicy() {
    if (this.hasPolicy) return;
    this.hasPolicy = true;
    try {
      this.setState({ policy: { ...USUAL, ...await this.api.policy() } });
    } catch {
      // The server refuses what it does not allow, whatever the page offers.
      this.hasPolicy = false;
    }
  }

  /** The scopes that can be chosen, by API type: loaded once, when something needs them. */
  catalog() {
    this.loaded ??= Promise.all([this.api.catalog(), import("./selection.js")]).then(
      ([{ api_types: types }, { indexScopes }]) => new Map(types.map((type) => [type.id, { ...type, index: indexScopes(type), rules: settings.apiTypes[type.id] ?? {} }])),
      (error) => {
        this.loaded = null;
        throw error;
      },
    );
    return this.loaded;
  }

  refused(error) {
    // Nothing here belongs to who is signed in now.
    if (error.code === "tenant_changed") this.setState({ foreign: true });
    // Each says that what is shown is old.
    if (["not_found", "revoked", "last_proof", "too_many_secrets"].includes(error.code)) this.refresh();
  }

  /** An answer that opened nothing: said where it is read out, since no dialog can say it. */
  fail(error) {
    // A module that did not come is no answer of the API.
    const trouble = error.code ? explain(error) : missing(error);
    if (error.code) this.refused(error);
    this.setState({ trouble, dialog: null }, () => this.keepFocus());
  }

  say(kind, ...content) {
    return { kind, content };
  }

  /** "Done" with how long until it holds everywhere, if the server says that it takes a while. */
  done(key, seconds, values) {
    return this.say("ok", seconds ? t(`${key}.soon`, { ...values, count: seconds }) : t(key, values));
  }

  /**
   * Shows a dialog. `load` brings what it needs, all at once; `draw(parts, props)` is called at each drawing.
   * Of two that are asked for at once, the later one counts.
   */
  async open(load, draw) {
    this.setState({ note: null, trouble: null });
    const asked = {};
    this.asked = asked;
    try {
      const parts = await load();
      if (this.asked === asked) this.setState({ dialog: (props) => draw(parts, props) });
    } catch (error) {
      if (this.asked === asked) this.fail(error);
    }
  }

  close(changes, then) {
    this.setState({ dialog: null, ...changes }, then);
  }

  focusHeading() {
    (document.querySelector("#list .empty h2") ?? document.querySelector("#app h1"))?.focus();
  }

  /** Whoever had the focus on something that is gone finds it where that was; who has put it nowhere is left alone. */
  keepFocus() {
    const { target, part } = this.lastFocus ?? {};
    if (document.activeElement !== document.body || this.state.dialog || !target || target.isConnected) return;
    const heading = part?.isConnected && part.querySelector("h2");
    if (heading) heading.focus();
    else this.focusHeading();
  }

  trouble({ phase, error }) {
    return phase === "failed" ? explain(error, button({ onclick: () => {
      this.focusHeading();
      this.load();
    } }, t("try_again"))) : null;
  }

  frame(state, content) {
    const said = state.note;
    return [
      h("div", { id: "status", role: "status" }, said && h("div", { class: `note ${said.kind}` }, icon(said.kind === "ok" ? "check" : "alert"),
        h("p", {}, said.content),
        button({ class: "quiet small dismiss", "aria-label": t("dismiss"), onclick: () => this.setState({ note: null }, () => this.focusHeading()) }, icon("close")))),
      h("div", { id: "trouble", role: "alert" }, state.foreign ? explain({ code: "tenant_changed" }) : this.trouble(state) ?? state.trouble),
      content,
      state.dialog?.({ api: this.api, policy: state.policy, onRefused: (error) => this.refused(error) }),
    ];
  }
}

function missing(error) {
  console.error(error);
  return h("div", { class: "note danger" }, icon("alert"), h("div", {}, h("p", {}, t("page.incomplete")), button({ onclick: startOver }, t("page.reload"))));
}

/** Draws the page, and tells the check of `watch.js` that the modules came. */
export function start(page) {
  const root = document.getElementById("root");
  root.replaceChildren();
  render(h(page), root);
  document.getElementById("incomplete").replaceChildren();
  document.documentElement.dataset.started = "true";
}
