// The dialog that makes a key.

import { bdi, button, explain, fold, h, isSaid, note, settings, t } from "./ui.js";
import { Dialog, Working } from "./dialog.js";
import { descriptionFaultOf, descriptionField, descriptionIds, faultOfDescription } from "./description.js";
import { expiryFaultOf, expiryField, expiryIds, expiryNow, readExpiry } from "./expiry.js";
import { faultFrom, focusFault, idsOf, radios, randomText } from "./form.js";
import { keyFaultOf, keyField, keyIds, readKeys } from "./jwk.js";
import { newWorkload, readWorkload, refusedWorkload, workloadFields, workloadIds } from "./workload.js";
import { faultOfName, nameFaultOf, nameField } from "./name.js";

export class Create extends Working {
  constructor(props) {
    super(props);
    const types = Object.keys(settings.apiTypes);
    this.state = { name: "", type: types.length === 1 ? types[0] : null, expiry: expiryNow(null, props.policy), description: "", isDescribed: false, isAdvanced: false, proof: "secret", keyText: "", keyWrong: null, workload: newWorkload() };
    this.ids = idsOf("form", "name", "nameHint", "nameFault");
    this.proofIds = { kind: idsOf("group", "hint", "fault"), keys: keyIds(), workload: workloadIds() };
    this.typeIds = idsOf("group", "hint", "fault");
    this.expiryIds = expiryIds();
    this.descriptionIds = descriptionIds();
    /** Names whose creation may have happened although no answer came, and which keys were there before. */
    this.lost = new Map();
    // One per intended key: the same attempt repeated must not make two.
    this.attempt = { of: null };
  }

  leave() {
    if (!this.isBusy) this.props.onClose(this.lost);
  }

  submit() {
    if (this.isBusy) return;
    const name = this.state.name.trim();
    const { fault: expiryFault = null } = readExpiry(this.state.expiry, this.props.policy);
    const faults = { nameFault: faultOfName(name), typeFault: this.state.type ? null : t("fault.type.required"), expiryFault, descriptionFault: faultOfDescription(this.state.description) };
    this.wrong(faults);
    if (Object.values(faults).every((fault) => !fault)) this.work(() => this.start(name));
  }

  /** Keys take a moment to be read; what is wrong with them is said before anything is sent. */
  async start(name) {
    const { proof, keyText, workload } = this.state;
    const read = proof === "secret" ? {} : proof === "public_key" ? await readKeys(keyText) : await readWorkload(workload);
    if (read.wrong || read.state) this.wrong(read.state ? { workload: read.state } : { keyWrong: read.wrong });
    else await this.create(name, proof === "secret" ? undefined : { kind: proof, ...read.rule, ...(read.keys && { jwks: { keys: read.keys } }), ...(read.uri && { jwks_uri: read.uri }) });
  }

  /** Says what is wrong where it is, and opens what hides it. */
  wrong(faults) {
    this.setState({ ...faults, ...(faults.descriptionFault && { isDescribed: true }), ...((faults.keyWrong || faults.workload) && { isAdvanced: true }) }, () => focusFault(this.base));
  }

  /** What is asked for, and its mark. A repeat of the same wish sends the same, to the millisecond of its end. */
  wish(name, authentication) {
    const { type, expiry } = this.state;
    const description = this.state.description.trim();
    const of = JSON.stringify([name, type, expiry, description, authentication]);
    if (this.attempt.of !== of) {
      const { expiresAt } = readExpiry(expiry, this.props.policy);
      this.attempt = { of, key: randomText(), body: { name, api_type: type, ...(expiresAt && { expires_at: expiresAt }), ...(description && { description }), ...(authentication && { authentication }) } };
    }
    return this.attempt;
  }

  async create(name, authentication) {
    const { api, policy, known, onCreated } = this.props;
    const { key, body } = this.wish(name, authentication);
    const before = this.lost.get(name) ?? known();
    try {
      const made = await api.create(body, key);
      this.lost.delete(name);
      onCreated(made, this.lost);
    } catch (error) {
      if (error.unsure || (error.code === "name_taken" && this.lost.has(name))) {
        this.lost.set(name, before);
        await this.lookForOrphan(error, name);
        return;
      }
      const faults = { nameFault: nameFaultOf(error), typeFault: faultFrom(error.fields ?? [], "api_type", "type"), expiryFault: expiryFaultOf(error, policy), descriptionFault: descriptionFaultOf(error, this.state.description), keyWrong: this.state.proof === "public_key" ? keyFaultOf(error) : null };
      const workload = this.state.proof === "workload" ? refusedWorkload(this.state.workload, error) : null;
      this.props.onRefused(error);
      const isAtField = workload || Object.values(faults).some(Boolean);
      this.wrong({ ...faults, ...(workload && { workload }), alert: isAtField ? null : explain(error) });
    }
  }

  /** Every attempt's answer got lost. Whether the key is there decides what can be done. The same wish again is answered as it was, for ten minutes. */
  async lookForOrphan(error, name) {
    let orphan;
    try {
      orphan = findOrphan((await this.props.api.list()).items, name, this.lost.get(name));
    } catch {
      this.setState({ alert: explain(error, h("p", {}, t("create.lost"), " ", t("create.lost.unchecked", { name: bdi(name) }))) });
      return;
    }
    if (orphan && this.attempt.body?.authentication) {
      // No secret was lost with the answer, so nothing is.
      this.lost.delete(name);
      this.props.onCreated({ credential: orphan, client_secret: null }, this.lost);
    } else if (orphan) {
      this.alert(note("danger", h("p", {}, t("create.orphan", { name: bdi(name) }), " ", t("create.orphan.repeat")),
        h("div", { class: "inline" }, button({ class: "small again", onclick: () => this.work(() => this.replace(orphan, name)) }, t("create.orphan.again")))), ".again");
    } else if (error.code === "name_taken") {
      this.setState({ nameFault: t("fault.name.taken") }, () => focusFault(this.base));
    } else {
      this.setState({ alert: explain(error, h("p", {}, t("create.lost"), " ", t("create.lost.absent", { name: bdi(name) }))) });
    }
  }

  async replace(orphan, name) {
    try {
      this.props.onReplaced((await this.props.api.revoke(orphan.id)).credential);
    } catch (error) {
      this.props.onRefused(error);
      this.setState({ alert: explain(error, h("p", {}, t("create.orphan", { name: bdi(name) }))) });
      return;
    }
    this.lost.delete(name);
    this.attempt = { of: null };
    await this.start(name);
  }

  render({ policy }, state) {
    const { ids } = this;
    return h(Dialog, {
      title: t("create"), className: "narrow", alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => dialog.querySelector("input").focus(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ type: "submit", class: "primary", form: ids.form }, t(state.busy ? "create.busy" : "create.submit")),
      ],
    }, h("form", { id: ids.form, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.submit();
    } },
    nameField(ids, state, (changes) => this.setState({ nameFault: null, ...changes })),
    radios({ ids: this.typeIds, legend: t("field.type"), hint: t("field.type.hint"), isRequired: true, chosen: state.type, wrong: state.typeFault,
      options: Object.entries(settings.apiTypes).map(([value, { label, description }]) => ({ value, label, about: description })),
      choose: (type) => this.setState({ type, typeFault: null }) }),
    expiryField(this.expiryIds, state.expiry, state.expiryFault, policy, (expiry) => this.setState({ expiry, expiryFault: null })),
    h("details", { class: "field", open: state.isDescribed, ontoggle: ({ currentTarget }) => this.setState({ isDescribed: currentTarget.open }) },
      h("summary", {}, t("description.add")), descriptionField(this.descriptionIds, state, (changes) => this.setState(changes))),
    policy.authentication.length > 1 && h("details", { class: "field", open: state.isAdvanced, ontoggle: ({ currentTarget }) => this.setState({ isAdvanced: currentTarget.open }) }, h("summary", {}, t("advanced")),
      radios({ ids: this.proofIds.kind, legend: t("part.proofs"), chosen: state.proof, className: "short", choose: (proof) => this.setState({ proof }),
        options: policy.authentication.map((value) => ({ value, label: t(`proof.kind.${value}`) })) }),
      state.proof === "public_key" && keyField(this.proofIds.keys, state, (changes) => this.setState(changes)),
      state.proof === "workload" && workloadFields(this.proofIds.workload, state.workload, (changes) => this.setState({ workload: { ...this.state.workload, ...changes } }))),
    isSaid("create.integrations") && h("p", { class: "muted fine" }, t("create.integrations"))));
  }
}

/** The key that a lost answer was about: of that name, made by this person, and not there before. */
export const findOrphan = (keys, name, before) =>
  keys.find((key) => fold(key.name) === fold(name) && !before.has(key.id) && key.created_by === settings.actor);
