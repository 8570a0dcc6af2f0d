// From where a key may be used: a list of addresses and networks, saved as a whole.

import { button, explain, field, h, icon, note, t } from "./ui.js";
import { Working, guardLeaving } from "./dialog.js";
import { fault, idsOf } from "./form.js";

/** Something that can be an address or a network; what it means is the server's to say. */
const PLAUSIBLE = /^[0-9a-f:.]+(\/\d{1,3})?$/i;

/** "10.0.0.0/8, not 10.0.0.1/8": of IPv4, what somebody meant can be told. */
function firstOf(network) {
  const [, address, length] = /^((?:\d{1,3}\.){3}\d{1,3})\/(\d{1,2})$/.exec(network) ?? [];
  if (!address) return network;
  const size = 2 ** (32 - Number(length));
  const value = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const first = Math.floor(value / size) * size;
  return t("fault.networks.first", { first: `${[24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join(".")}/${length}`, network });
}

export class Networks extends Working {
  constructor(props) {
    super(props);
    const base = props.apiKey.allowed_networks ?? [];
    this.state = { base, list: base, text: "", wrong: null };
    this.ids = idsOf("box", "hint", "fault", "title");
    this.version = props.apiKey.version;
  }

  componentDidMount() {
    this.stopGuard = guardLeaving(() => this.isChanged());
  }

  componentWillUnmount() {
    this.stopGuard();
  }

  componentWillReceiveProps({ apiKey }) {
    if (apiKey === this.props.apiKey) return;
    this.version = apiKey.version;
    const base = apiKey.allowed_networks ?? [];
    // What is edited here and not saved stays.
    if (!this.isChanged()) this.setState({ base, list: base });
    else this.setState({ base });
  }

  isChanged({ base, list } = this.state) {
    return base.length !== list.length || list.some((each) => !base.includes(each));
  }

  add(text = this.state.text) {
    const found = text.split(/[\s,;]+/).filter(Boolean);
    const wrong = found.find((each) => !PLAUSIBLE.test(each));
    const list = [...new Set([...this.state.list, ...found])];
    const { max_networks: most } = this.props.policy;
    if (!found.length || wrong) this.wrong(t("fault.networks.required"));
    else if (list.length > most) this.wrong(t("fault.networks.too_many", { count: most }));
    else this.setState({ list, text: "", wrong: null });
  }

  wrong(wrong) {
    this.setState({ wrong }, () => this.find("input")?.focus());
  }

  remove(network) {
    this.setState(({ list }) => ({ list: list.filter((each) => each !== network) }), () => this.find("input")?.focus());
  }

  discard() {
    this.setState({ list: this.state.base, text: "", wrong: null, alert: null }, () => this.find("input")?.focus());
  }

  async save() {
    const { api, apiKey, onRefused, onChanged, onSaid } = this.props;
    const { list } = this.state;
    try {
      const key = await api.edit(apiKey.id, this.version, { allowed_networks: list });
      this.setState({ base: key.allowed_networks, list: key.allowed_networks }, () => this.find("input")?.focus());
      onChanged(key, onSaid(key));
    } catch (error) {
      if (error.code === "stale_version") {
        await this.again(error);
        return;
      }
      onRefused(error);
      const faults = error.fields?.filter(({ field: of }) => of === "allowed_networks") ?? [];
      // The API counts the entries from 1.
      const names = (code) => faults.filter((each) => each.code === code).map(({ message }) => list[/\d+/.exec(message)?.[0] - 1]).filter(Boolean)
        .map((network) => (code === "host_bits_set" ? firstOf(network) : network)).join(", ");
      const said = ["host_bits_set", "invalid_network"].filter(names).map((code) => t(`fault.networks.${code}`, { names: names(code) }));
      if (faults.length) this.wrong(said.join(" ") || t("fault.networks.other"));
      else this.setState({ alert: explain(error, error.unsure && h("p", {}, t("networks.unsure"))) });
    }
  }

  /** Somebody else changed the key. Saving again sends this list, whatever theirs was, so it is shown first. */
  async again(error) {
    try {
      const key = await this.props.api.get(this.props.apiKey.id);
      this.version = key.version;
      this.setState({ base: key.allowed_networks, alert: note("warn", h("p", {}, t("networks.stale", { theirs: key.allowed_networks.join(", ") || t("networks.everywhere") }))) });
    } catch {
      this.setState({ alert: explain(error) });
    }
  }

  render({ mayEdit, policy }, state) {
    const { ids } = this;
    const { list, text, wrong, busy } = state;
    const here = policy.client_address;
    const hint = list.length ? "networks.hint" : "networks.hint.everywhere";
    return h("div", { class: "networks", role: "group", "aria-labelledby": ids.title },
      h("h3", { id: ids.title }, t("networks")),
      h("p", { class: "muted", id: ids.hint }, t(this.isChanged(state) ? `${hint}.unsaved` : hint)),
      list.length > 0 && h("ul", {}, list.map((network) => h("li", { key: network }, h("code", { translate: false }, network),
        mayEdit && button({ class: "quiet small", "aria-label": t("networks.remove.of", { network }), title: t("networks.remove"), onclick: () => this.remove(network) }, icon("close"))))),
      mayEdit && h("form", { novalidate: true, onsubmit: (event) => {
        event.preventDefault();
        this.add();
      } },
      h("label", { for: ids.box }, t("networks.box")),
      h("div", { class: "row" },
        h("input", { type: "text", id: ids.box, autocomplete: "off", spellcheck: false, value: text, "aria-invalid": String(Boolean(wrong)), "aria-describedby": `${ids.fault} ${ids.hint}`,
          ...field((typed) => this.setState({ text: typed, wrong: null }), () => this.setState({ text: "", wrong: t("leak.elsewhere") })) }),
        button({ type: "submit" }, t("networks.add"))),
      fault(ids.fault, wrong),
      here && !list.includes(here) && button({ class: "small", onclick: () => this.add(here) }, t("networks.here", { address: here }))),
      h("div", { class: "alerts", role: "alert" }, this.alerts(state)),
      mayEdit && this.isChanged(state) && h("div", { class: "inline save" },
        this.action({ class: "primary", onclick: () => this.work(() => this.save()) }, t(busy ? "networks.busy" : "networks.save")),
        this.action({ onclick: () => busy || this.discard() }, t("cancel"))));
  }
}
