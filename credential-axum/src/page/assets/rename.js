// The dialog that gives a key another name.

import { bdi, explain, h, note, t } from "./ui.js";
import { Dialog, Working } from "./dialog.js";
import { idsOf } from "./form.js";
import { faultOfName, nameFaultOf, nameField } from "./name.js";

export class Rename extends Working {
  constructor(props) {
    super(props);
    this.state = { name: props.apiKey.name };
    this.ids = idsOf("form", "name", "nameHint", "nameFault");
    this.version = props.apiKey.version;
  }

  leave() {
    if (!this.isBusy) this.props.onClose();
  }

  submit() {
    if (this.isBusy) return;
    const name = this.state.name.trim();
    const nameFault = faultOfName(name);
    this.setState({ nameFault }, () => nameFault && this.find("input").focus());
    if (!nameFault) this.work(() => this.rename(name));
  }

  async rename(name) {
    const { api, apiKey, onRefused, onRenamed } = this.props;
    try {
      onRenamed(await api.edit(apiKey.id, this.version, { name }));
    } catch (error) {
      onRefused(error);
      const nameFault = nameFaultOf(error);
      if (nameFault) {
        this.setState({ nameFault }, () => this.find("input").focus());
      } else if (error.code === "stale_version") {
        await this.again(error);
      } else {
        this.setState({ alert: explain(error, error.unsure && h("p", {}, t("rename.unsure"))) });
      }
    }
  }

  /** Somebody else changed the key. Their change is kept: a name is all that this one sends. */
  async again(error) {
    try {
      this.version = (await this.props.api.get(this.props.apiKey.id)).version;
      this.setState({ alert: note("warn", h("p", {}, t("rename.stale"))) });
    } catch {
      this.setState({ alert: explain(error) });
    }
  }

  render({ apiKey }, state) {
    const { ids } = this;
    return h(Dialog, {
      title: t("rename.title"), className: "narrow", lead: bdi(apiKey.name), alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => dialog.querySelector("input").select(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ type: "submit", class: "primary", form: ids.form }, t(state.busy ? "rename.busy" : "rename.save")),
      ],
    }, h("form", { id: ids.form, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.submit();
    } }, nameField(ids, state, (changes) => this.setState({ nameFault: null, ...changes }))));
  }
}
