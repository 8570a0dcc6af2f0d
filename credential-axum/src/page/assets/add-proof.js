// The dialogs that let a key sign in by something else than a secret.

import { bdi, explain, h, note, t } from "./ui.js";
import { Dialog, Working } from "./dialog.js";
import { focusFault, idsOf } from "./form.js";
import { isAddress, keyFaultOf, keyField, keyIds, readKeys } from "./jwk.js";
import { newWorkload, readWorkload, refusedWorkload, workloadFields, workloadIds } from "./workload.js";

/** Adds to what the key has now: what somebody else added meanwhile stays. */
class AddProof extends Working {
  constructor(props) {
    super(props);
    this.formId = idsOf("form").form;
    this.apiKey = props.apiKey;
  }

  leave() {
    if (!this.isBusy) this.props.onClose();
  }

  /** `send(key)` makes the call; `refused(error)` says whether it has shown what was wrong. */
  async add(send, refused) {
    try {
      this.props.onAdded(await send(this.apiKey));
    } catch (error) {
      this.props.onRefused(error);
      if (refused(error)) return;
      if (error.code === "stale_version") await this.again(error);
      else this.setState({ alert: explain(error, error.unsure && h("p", {}, t("proofs.unsure"))) });
    }
  }

  async again(error) {
    try {
      this.apiKey = await this.props.api.get(this.apiKey.id);
      this.setState({ alert: note("warn", h("p", {}, t("proofs.stale"))) });
    } catch {
      this.setState({ alert: explain(error) });
    }
  }

  frame(state, title, ...content) {
    return h(Dialog, {
      title, className: "narrow", lead: bdi(this.props.apiKey.name), alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => dialog.querySelector("textarea, input:checked").focus(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ type: "submit", class: "primary", form: this.formId }, t(state.busy ? "proofs.busy" : "proofs.add")),
      ],
    }, h("form", { id: this.formId, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.work(() => this.submit());
    } }, content));
  }
}

export class AddKeys extends AddProof {
  state = { keyText: "", keyWrong: null };
  ids = keyIds();

  wrong(keyWrong) {
    this.setState({ keyWrong }, () => focusFault(this.base));
  }

  async submit() {
    const { keys, uri, wrong } = await readKeys(this.state.keyText);
    if (wrong) {
      this.wrong(wrong);
      return;
    }
    await this.add(({ id, version, keys: known }) => this.props.api.setKeys(id, version, uri ? { jwks_uri: uri } : { jwks: { keys: [...known.map(({ jwk }) => jwk), ...keys] } }), (error) => {
      const found = keyFaultOf(error);
      if (found) this.wrong(found);
      return found;
    });
  }

  render(_, state) {
    const { keys, jwks_uri: uri } = this.apiKey;
    const replaces = isAddress(state.keyText) ? keys.length > 0 || uri : uri && state.keyText.trim();
    return this.frame(state, t("keys.title"),
      keyField(this.ids, state, (changes) => this.setState(changes)),
      replaces && note("warn", h("p", {}, t(isAddress(state.keyText) && keys.length ? "keys.replaces" : "keys.replaces.address"))));
  }
}

export class AddWorkload extends AddProof {
  state = newWorkload();
  ids = workloadIds();

  wrong(state) {
    this.setState(state, () => focusFault(this.base));
  }

  async submit() {
    const { rule, state } = await readWorkload(this.state);
    if (!rule) {
      this.wrong(state);
      return;
    }
    await this.add(({ id, version, workloads }) => this.props.api.setWorkloads(id, version, [...workloads.map(sent), rule]), (error) => {
      const found = refusedWorkload(this.state, error);
      if (found) this.wrong(found);
      return found;
    });
  }

  render(_, state) {
    return this.frame(state, t("workloads.title"), workloadFields(this.ids, state, (changes) => this.setState(changes)));
  }
}

/** A rule as the API takes it, from how it shows it. */
export const sent = ({ issuer, audience, subject, claims, jwks }) => ({ issuer, audience, subject, claims, ...(jwks && { jwks }) });
