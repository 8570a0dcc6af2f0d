// The one sight of a secret, and the file that it can be kept in.

import { Copy, bdi, button, h, icon, note, t } from "./ui.js";
import { Dialog, Working, guardLeaving } from "./dialog.js";
import { fileStem, saveAs } from "./file.js";
import { idsOf } from "./form.js";

/** The one sight of the secret. Nothing but the ticked checkbox and its buttons closes it. */
export class Secret extends Working {
  constructor(props) {
    super(props);
    // Without a secret nothing has to be saved.
    this.state = { saved: props.secret === null, secret: props.secret };
    this.ids = idsOf("saved", "warning", "id", "secret");
  }

  componentDidMount() {
    this.stopGuard = guardLeaving(() => !this.state.saved);
    this.forget = () => this.setState({ secret: "" });
    addEventListener("pagehide", this.forget);
  }

  componentWillUnmount() {
    this.stopGuard();
    removeEventListener("pagehide", this.forget);
  }

  leave(thenEdit = false) {
    if (this.state.saved) {
      this.props.onClose(thenEdit);
      return;
    }
    this.alert(note("danger", h("p", {}, h("strong", {}, t("created.save_first")), " ", t("created.save_first.rest"))), `#${this.ids.saved}`);
  }

  render({ credential, title = t("created"), canEdit = true }, { saved, secret, alert }) {
    const { ids } = this;
    const value = (label, id, text) => h("div", { class: "value", role: "group", "aria-labelledby": id },
      h("div", { id, class: "label" }, label),
      h("div", { class: "line" }, h("code", { translate: false }, text), h(Copy, { what: label, text: () => text, labelled: true })));
    return h(Dialog, {
      title, className: "narrow secret", lead: bdi(credential.name), describedBy: secret === null ? undefined : ids.warning, alert, outside: true,
      leave: () => this.leave(),
      opened: (dialog) => {
        dialog.querySelector("h2").focus();
        dialog.scrollTop = 0;
      },
      actions: [
        button({ class: canEdit ? "" : "primary", disabled: !saved, onclick: () => this.leave() }, t("created.done")),
        canEdit && button({ class: "primary", disabled: !saved, onclick: () => this.leave(true) }, t("created.edit")),
      ],
    },
    secret !== null && h("div", { id: ids.warning }, note("warn", h("p", {}, h("strong", {}, t("created.warning")), " ", t("created.warning.rest")))),
    value(t("created.client_id"), ids.id, credential.client_id),
    secret === null ? h("p", {}, t("created.no_secret")) : [value(t("created.secret"), ids.secret, secret),
    button({ class: "wide", onclick: () => secret && save(credential, secret) }, icon("download"), t("created.download")),
    h("div", { class: "choice gate" },
      h("input", { type: "checkbox", id: ids.saved, checked: saved, onchange: ({ currentTarget }) => this.setState({ saved: currentTarget.checked, alert: currentTarget.checked ? null : alert }) }),
      h("label", { for: ids.saved }, t("created.saved")))]);
  }
}

/** Built here from the one answer, so the secret crosses the network once. */
function save({ name, api_type: apiType, environment, client_id: clientId, created_at: createdAt }, secret) {
  const content = { name, api_type: apiType, environment, client_id: clientId, client_secret: secret, created_at: createdAt };
  saveAs(`${fileStem(name)}-credentials.json`, "application/json", `${JSON.stringify(content, null, 2)}\n`);
}
