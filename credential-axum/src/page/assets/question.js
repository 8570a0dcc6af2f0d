// A question before something is taken away, and the questions that the page asks.

import { DAY_MS, ago, bdi, exact, explain, h, note, now, t } from "./ui.js";
import { Dialog, Working, lastUse } from "./dialog.js";
import { idsOf } from "./form.js";
import { keyName } from "./key-proofs.js";

/**
 * Asks, and does it: `run()` is the call, `done(answer)` is told what the server said. `unsure` is said where it is
 * not known whether it happened. The way out has the focus.
 */
export class Question extends Working {
  constructor(props) {
    super(props);
    this.ids = idsOf("about");
  }

  leave() {
    if (!this.isBusy) this.props.onClose();
  }

  async ask(run, done, unsure) {
    try {
      done(await run());
    } catch (error) {
      this.props.onRefused(error);
      this.alert(this.props.explain?.(error) || explain(error, error.unsure && h("p", {}, t(unsure))));
    }
  }

  render({ title, lead, about, confirm, busyText, run, done, unsure, milder, children }, state) {
    return h(Dialog, {
      title, lead, className: "narrow", role: "alertdialog", describedBy: this.ids.about, alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => dialog.querySelector("footer button").focus(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ class: "primary danger", onclick: () => this.work(() => this.ask(run, done, unsure)) }, state.busy ? busyText : confirm),
      ],
    },
    h("div", { id: this.ids.about, class: "about" }, about),
    children,
    milder && h("div", { class: "milder" }, h("span", {}, milder.text), this.action({ class: "small", onclick: () => this.work(() => this.ask(milder.run, milder.done, milder.unsure)) }, milder.confirm)));
  }
}

/** The last use in words, marked if it was within a day. */
function useNote(at) {
  const use = lastUse(at);
  return use.isRecent ? note("danger", h("p", {}, h("strong", {}, use.text), " ", t("use.recent"))) : h("p", {}, use.text);
}

export class Delete extends Working {
  constructor(props) {
    super(props);
    this.state = { lastUsed: props.apiKey.last_used_at };
  }

  componentDidMount() {
    // The list may be old, and the last use is what the decision rests on.
    this.props.api.get(this.props.apiKey.id).then(({ last_used_at: lastUsed }) => this.setState({ lastUsed }), () => {});
  }

  render({ api, apiKey, onRefused, onClose, onDeleted, onDisabled }, { lastUsed }) {
    return h(Question, {
      title: t("delete.title", { name: bdi(apiKey.name) }), lead: t("delete.final"), onRefused, onClose,
      about: [useNote(lastUsed), h("p", {}, t("delete.effect"))],
      confirm: t("delete"), busyText: t("delete.busy"), unsure: "delete.unsure", run: () => api.revoke(apiKey.id), done: onDeleted,
      milder: apiKey.status === "active" && { text: t("delete.milder"), confirm: t("disable.instead"), unsure: "disable.unsure", run: () => api.disable(apiKey.id), done: onDisabled },
    }, h("dl", {}, h("dt", {}, t("created.client_id")), h("dd", {}, h("code", { translate: false }, apiKey.client_id))));
  }
}

export const Disable = ({ api, apiKey, onRefused, onClose, onDisabled }) =>
  h(Question, {
    title: t("disable.title", { name: bdi(apiKey.name) }), lead: t("disable.lead"), onRefused, onClose,
    about: [useNote(apiKey.last_used_at), h("p", {}, t("disable.effect"))],
    confirm: t("disable"), busyText: t("disable.busy"), unsure: "disable.unsure", run: () => api.disable(apiKey.id), done: onDisabled,
  });

/** What was done with it in the last day comes first: it may still be in use somewhere. */
export const EndSecret = ({ api, apiKey, secret, onRefused, onClose, onEnded }) => {
  const { last_used_at: at } = secret;
  const isRecent = at && now() - new Date(at) < DAY_MS;
  return h(Question, {
    title: t("end.title"), lead: [h("strong", {}, bdi(apiKey.name)), " · ", t("secret.name", { last: h("code", { translate: false }, secret.selector.slice(-4)) })], onRefused, onClose,
    about: [
      isRecent ? note("danger", h("p", {}, h("strong", {}, t("end.recent", { ago: ago(at) })), " ", h("span", { class: "muted" }, `(${exact(at)})`), " ", t("end.recent.rest")))
        : h("p", {}, at ? t("end.last", { ago: ago(at) }) : t("end.never")),
      h("p", {}, t("end.effect")),
    ],
    confirm: t("end.now"), busyText: t("end.busy"), unsure: "end.unsure", run: () => api.endSecret(apiKey.id, secret.selector), done: onEnded,
  });
};

/** A public key, the address of some, or a trusted workload; the others stay. */
export const RemoveProof = ({ api, apiKey, kind, entry, onRefused, onClose, onRemoved }) => {
  const { last_used_at: at } = entry;
  const isRecent = at && now() - new Date(at) < DAY_MS;
  const run = () => (kind === "workloads"
    ? api.setWorkloads(apiKey.id, apiKey.version, apiKey.workloads.filter(({ id }) => id !== entry.id).map(({ issuer, audience, subject, claims, jwks }) => ({ issuer, audience, subject, claims, ...(jwks && { jwks }) })))
    : api.setKeys(apiKey.id, apiKey.version, { jwks: entry.uri || apiKey.keys.length === 1 ? null : { keys: apiKey.keys.filter(({ thumbprint }) => thumbprint !== entry.thumbprint).map(({ jwk }) => jwk) } }));
  return h(Question, {
    title: t(entry.uri ? "proofs.remove.address" : `${kind}.remove`), lead: [h("strong", {}, bdi(apiKey.name)), " · ", h("code", { translate: false }, entry.uri ?? entry.subject ?? keyName(entry))], onRefused, onClose,
    about: [
      isRecent ? note("danger", h("p", {}, h("strong", {}, t("end.recent", { ago: ago(at) })), " ", h("span", { class: "muted" }, `(${exact(at)})`), " ", t("end.recent.rest")))
        : !entry.uri && h("p", {}, at ? t("end.last", { ago: ago(at) }) : t("end.never")),
      h("p", {}, t("proofs.remove.effect")),
    ],
    explain: (error) => error.code === "last_proof" && note("danger", h("p", {}, t("proofs.last"))),
    confirm: t("proofs.remove"), busyText: t("proofs.remove.busy"), unsure: "proofs.unsure", run, done: onRemoved,
  });
};

/** `keys` are all that are not deleted. */
export const RevokeAll = ({ api, keys, onRefused, onClose, onRevoked }) => {
  const recent = keys.filter(({ last_used_at: at }) => at && now() - new Date(at) < DAY_MS).length;
  const { length: count } = keys;
  return h(Question, {
    title: t("revoke_all.title", { count }), lead: t("revoke_all.final"), onRefused, onClose,
    about: [
      recent > 0 && note("danger", h("p", {}, h("strong", {}, t("revoke_all.recent", { count: recent })))),
      h("p", {}, t("revoke_all.effect")),
    ],
    explain: (error) => error.code === "invalid" && note("warn", h("p", {}, t("revoke_all.changed"))),
    confirm: t("revoke_all.confirm", { count }), busyText: t("revoke_all.busy"), unsure: "revoke_all.unsure", run: () => api.revokeAll(count), done: onRevoked,
  });
};
