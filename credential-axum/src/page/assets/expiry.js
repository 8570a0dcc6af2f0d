// When a key ends: the choice in Create, and the dialog that changes it.

import { DAY_MS, bdi, explain, h, isLive, note, now, t, time } from "./ui.js";
import { Dialog, Working } from "./dialog.js";
import { faultFrom, focusFault, idsOf, radios } from "./form.js";

const DAYS = { quarter: 90, year: 365 };
const EXPIRY_IDS = ["group", "hint", "fault", "date"];
export const expiryIds = () => idsOf(...EXPIRY_IDS);

/** What is chosen before anybody chose: what the key has now, or the widest that the host allows. */
export function expiryNow(expiresAt, { max_lifetime_days: most }) {
  if (expiresAt) return { choice: "date", date: localDate(new Date(expiresAt)) };
  return { choice: most === null ? "never" : "most", date: "" };
}

const pad = (value) => String(value).padStart(2, "0");
const localDate = (at) => `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;

/** The last moment of a day where the person is; null if the text is none. */
function endOf(date) {
  const [, year, month, day] = /^(\d{4,6})-(\d\d)-(\d\d)$/.exec(date) ?? [];
  if (!year) return null;
  const end = new Date(Number(year), Number(month) - 1, Number(day), 23, 59, 59);
  return Number.isNaN(end.getTime()) ? null : end;
}

/**
 * `{ expiresAt }` as the API takes it, or `{ fault }`. The longest that the host allows is the server's to count:
 * `null` stands for it, so that a clock that is a little off does no harm.
 */
export function readExpiry({ choice, date }, { max_lifetime_days: most }) {
  if (choice === "never" || choice === "most" || DAYS[choice] === most) return { expiresAt: null };
  if (choice in DAYS) return { expiresAt: new Date(now() + DAYS[choice] * DAY_MS).toISOString() };
  const end = endOf(date);
  if (!end) return { fault: t("fault.expires.required") };
  if (end <= now()) return { fault: t("fault.expires.past") };
  if (most !== null && end - now() > most * DAY_MS) return { fault: t("fault.expires.too_long", { count: most }) };
  return { expiresAt: end.toISOString() };
}

export const expiryFaultOf = ({ fields = [] }, { max_lifetime_days: most }) => faultFrom(fields, "expires_at", "expires", { count: most ?? 0 });

export function expiryField(ids, { choice, date }, wrong, { max_lifetime_days: most }, change) {
  const options = [
    most === null ? { value: "never", label: t("expires.never") } : !Object.values(DAYS).includes(most) && { value: "most", label: t("expires.most", { count: most }) },
    ...Object.entries(DAYS).filter(([, days]) => most === null || days <= most).map(([value]) => ({ value, label: t(`expires.${value}`) })),
    { value: "date", label: t("expires.date") },
  ].filter(Boolean);
  const chosen = options.some(({ value }) => value === choice) ? choice : options.find(({ value }) => DAYS[value] === most)?.value ?? options[0].value;
  return radios({
    ids, legend: t("expires"), hint: t(most === null ? "expires.hint" : "expires.hint.most", { count: most ?? 0 }), options, chosen, wrong, className: "four",
    choose: (value) => change({ choice: value, date }),
    rest: chosen === "date" && h("div", { class: "under" }, h("label", { for: ids.date }, t("expires.day")),
      h("input", { type: "date", id: ids.date, value: date, min: localDate(new Date(now())), max: most === null ? undefined : localDate(new Date(now() + (most - 1) * DAY_MS)),
        "aria-invalid": String(Boolean(wrong)), "aria-describedby": ids.fault, oninput: ({ currentTarget }) => change({ choice: "date", date: currentTarget.value }) })),
  });
}

export class Expiry extends Working {
  constructor(props) {
    super(props);
    this.state = { ...expiryNow(props.apiKey.expires_at, props.policy), wrong: null };
    this.ids = { ...expiryIds(), form: idsOf("form").form };
    this.version = props.apiKey.version;
  }

  leave() {
    if (!this.isBusy) this.props.onClose();
  }

  submit() {
    if (this.isBusy) return;
    const { expiresAt, fault: wrong = null } = readExpiry(this.state, this.props.policy);
    this.setState({ wrong }, () => wrong && focusFault(this.base));
    if (!wrong) this.work(() => this.save(expiresAt));
  }

  async save(expiresAt) {
    const { api, apiKey, policy, onRefused, onChanged } = this.props;
    try {
      onChanged(await api.edit(apiKey.id, this.version, { expires_at: expiresAt }));
    } catch (error) {
      onRefused(error);
      const wrong = expiryFaultOf(error, policy);
      if (wrong) this.setState({ wrong }, () => focusFault(this.base));
      else if (error.code === "stale_version") await this.again(error);
      else this.setState({ alert: explain(error, error.unsure && h("p", {}, t("expires.unsure"))) });
    }
  }

  /** Somebody else changed the key. Their change is kept: an end is all that this one sends. */
  async again(error) {
    try {
      this.version = (await this.props.api.get(this.props.apiKey.id)).version;
      this.setState({ alert: note("warn", h("p", {}, t("expires.stale"))) });
    } catch {
      this.setState({ alert: explain(error) });
    }
  }

  render({ apiKey, policy }, state) {
    const { ids } = this;
    return h(Dialog, {
      title: t("expires.title"), className: "narrow", alert: this.alerts(state), leave: () => this.leave(),
      lead: [h("strong", {}, bdi(apiKey.name)), " · ", apiKey.expires_at ? t(isLive(apiKey) ? "expires.now" : "expires.now.past", { when: time(apiKey.expires_at) }) : t("expires.now.never")],
      opened: (dialog) => dialog.querySelector("input:checked").focus(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ type: "submit", class: "primary", form: ids.form }, t(state.busy ? "expires.busy" : "expires.save")),
      ],
    }, h("form", { id: ids.form, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.submit();
    } }, expiryField(ids, state, state.wrong, policy, (changes) => this.setState({ wrong: null, ...changes }))));
  }
}
