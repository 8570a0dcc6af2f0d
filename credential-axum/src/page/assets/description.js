// What admins wrote about a key: the field, and the dialog that changes it.

import { bdi, explain, field, h, note, selectorOf, t } from "./ui.js";
import { Dialog, Working } from "./dialog.js";
import { fault, faultFrom, focusFault, idsOf } from "./form.js";

const LONGEST = 500;
export const descriptionIds = () => idsOf("box", "hint", "fault");

/** As the API keeps it. */
const tidy = (text) => text.trim().replaceAll("\r\n", "\n");

const lengths = (text) => ({ count: LONGEST, actual: [...tidy(text)].length });

export function faultOfDescription(text) {
  if (selectorOf(text) !== null) return t("leak.elsewhere");
  return lengths(text).actual > LONGEST ? t("fault.description.too_long", lengths(text)) : null;
}

/** What the server has against a text, if that is what it refused. */
export const descriptionFaultOf = ({ fields = [] }, text) => faultFrom(fields, "description", "description", lengths(text));

/** A secret that is pasted into it does not get in; what was written before stays. */
export const descriptionField = (ids, { description, descriptionFault }, change) =>
  h("div", { class: "field" },
    h("label", { for: ids.box }, t("field.description")),
    h("p", { id: ids.hint, class: "muted" }, t("field.description.hint", { count: LONGEST })),
    h("textarea", { id: ids.box, dir: "auto", rows: 4, value: description, "aria-invalid": String(Boolean(descriptionFault)), "aria-describedby": `${ids.fault} ${ids.hint}`,
      ...field((text) => change({ description: text, descriptionFault: null }), () => change({ descriptionFault: t("leak.elsewhere") })) }),
    fault(ids.fault, descriptionFault));

export class Describe extends Working {
  constructor(props) {
    super(props);
    const { description, version } = props.apiKey;
    this.state = { description, descriptionFault: null };
    this.ids = { ...descriptionIds(), form: idsOf("form").form };
    this.version = version;
    this.theirs = description;
  }

  leave() {
    if (!this.isBusy) this.props.onClose();
  }

  submit() {
    if (this.isBusy) return;
    const { description } = this.state;
    const descriptionFault = faultOfDescription(description);
    this.setState({ descriptionFault }, () => descriptionFault && focusFault(this.base));
    if (!descriptionFault) this.work(() => this.save(tidy(description)));
  }

  async save(description) {
    const { api, apiKey, onRefused, onDescribed } = this.props;
    try {
      onDescribed(await api.edit(apiKey.id, this.version, { description }));
    } catch (error) {
      onRefused(error);
      const descriptionFault = descriptionFaultOf(error, description);
      if (descriptionFault) this.setState({ descriptionFault }, () => focusFault(this.base));
      else if (error.code === "stale_version") await this.again(error);
      else this.setState({ alert: explain(error, error.unsure && h("p", {}, t("description.unsure"))) });
    }
  }

  /** Somebody else changed the key. Saving again replaces their text, so it is shown first. */
  async again(error) {
    try {
      const { version, description: theirs } = await this.props.api.get(this.props.apiKey.id);
      const words = theirs === this.theirs ? h("p", {}, t("description.stale.other"))
        : [h("p", {}, t(theirs ? "description.stale" : "description.stale.none")), theirs && h("p", { class: "description theirs", dir: "auto" }, theirs), h("p", {}, t("description.stale.yours"))];
      Object.assign(this, { version, theirs });
      this.setState({ alert: note("warn", words) });
    } catch {
      this.setState({ alert: explain(error) });
    }
  }

  render({ apiKey }, state) {
    const { ids } = this;
    return h(Dialog, {
      title: t("description"), className: "narrow", lead: bdi(apiKey.name), alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => dialog.querySelector("textarea").focus(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ type: "submit", class: "primary", form: ids.form }, t(state.busy ? "description.busy" : "description.save")),
      ],
    }, h("form", { id: ids.form, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.submit();
    } }, descriptionField(ids, state, (changes) => this.setState(changes))));
  }
}
