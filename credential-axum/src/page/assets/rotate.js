// The dialog that gives a key a new secret, and says when the old one ends.

import { DAY_MS, ago, bdi, button, explain, h, isLive, note, t } from "./ui.js";
import { Dialog, Working } from "./dialog.js";
import { idsOf, radios, randomText } from "./form.js";

const DAY_S = DAY_MS / 1000;
const OVERLAPS = { now: 0, day: DAY_S, week: 7 * DAY_S };

export class Rotate extends Working {
  constructor(props) {
    super(props);
    this.state = { ends: "day" };
    this.ids = idsOf("group", "hint", "fault", "form");
    // A key that signs in by other means gets a first one.
    this.isFirst = !(props.apiKey.secrets ?? []).some(isLive);
    // Two work at the same time at most, so a third takes the place of both.
    this.isFull = (props.apiKey.secrets ?? []).filter(isLive).length > 1;
    // One per intended secret: the same attempt repeated must not make two.
    this.attempt = { of: null };
  }

  leave() {
    if (!this.isBusy) this.props.onClose(this.isLost);
  }

  ends({ max_overlap_seconds: most } = this.props.policy) {
    const offered = Object.keys(OVERLAPS).filter((name) => OVERLAPS[name] <= most && (name === "now" || !this.isFull));
    return { offered, chosen: offered.includes(this.state.ends) ? this.state.ends : offered.at(-1) };
  }

  async rotate() {
    const { api, apiKey, onRefused, onRotated } = this.props;
    const of = this.isFirst ? "now" : this.ends().chosen;
    if (this.attempt.of !== of) this.attempt = { of, key: randomText() };
    try {
      // Which are there now tells a secret apart whose answer is lost.
      this.known ??= new Set((await api.get(apiKey.id)).secrets.map(({ selector }) => selector));
      onRotated(await api.addSecret(apiKey.id, OVERLAPS[of], this.attempt.key));
    } catch (error) {
      onRefused(error);
      if (error.unsure || (error.code === "too_many_secrets" && this.isLost)) await this.lookForLost(error);
      else this.setState({ alert: explain(error) });
    }
  }

  /** Every attempt's answer got lost. Whether there is a new secret decides what can be done. The same again is answered as it was, for ten minutes. */
  async lookForLost(error) {
    this.isLost = true;
    let lost;
    try {
      lost = (await this.props.api.get(this.props.apiKey.id)).secrets.find((secret) => isLive(secret) && !this.known.has(secret.selector));
    } catch {
      this.setState({ alert: explain(error, h("p", {}, t("rotate.unsure"))) });
      return;
    }
    if (lost) {
      this.alert(note("danger", h("p", {}, t("rotate.lost", { last: h("code", { translate: false }, lost.selector.slice(-4)) }), " ", t("rotate.lost.repeat")),
        h("div", { class: "inline" }, button({ class: "small again", onclick: () => this.work(() => this.replace(lost)) }, t("rotate.again")))), ".again");
    } else {
      this.setState({ alert: explain(error, h("p", {}, t("rotate.absent"))) });
    }
  }

  /** Ends the secret that nobody saw, and makes another. What ends all others at once ends that one too. */
  async replace(lost) {
    const { api, apiKey, onRefused } = this.props;
    try {
      if (OVERLAPS[this.ends().chosen] > 0) await api.endSecret(apiKey.id, lost.selector);
    } catch (error) {
      onRefused(error);
      this.setState({ alert: explain(error, h("p", {}, t("rotate.lost", { last: h("code", { translate: false }, lost.selector.slice(-4)) }))) });
      return;
    }
    this.known.add(lost.selector);
    this.attempt = { of: null };
    await this.rotate();
  }

  render({ apiKey }, state) {
    const { ids } = this;
    const { offered, chosen } = this.ends();
    const recent = apiKey.last_used_at;
    const warning = `rotate.${this.isFull ? "full" : "now"}.${recent ? "used" : "unused"}`;
    return h(Dialog, {
      title: t("rotate"), className: "narrow", lead: bdi(apiKey.name), alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => (dialog.querySelector("input:checked") ?? dialog.querySelector("h2")).focus(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ type: "submit", class: "primary", form: ids.form }, t(state.busy ? "rotate.busy" : "rotate.confirm")),
      ],
    },
    h("p", {}, t(this.isFirst ? "rotate.about.first" : this.isFull ? "rotate.about.full" : "rotate.about")),
    h("form", { id: ids.form, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.work(() => this.rotate());
    } }, !this.isFirst && radios({ ids, legend: t("rotate.ends"), chosen, className: "short", choose: (ends) => this.setState({ ends }),
      options: offered.map((value) => ({ value, label: t(`rotate.${value}`) })) })),
    chosen === "now" && !this.isFirst && note(recent ? "danger" : "warn", h("p", {}, t(warning, { ago: recent ? ago(recent) : "" }))));
  }
}
