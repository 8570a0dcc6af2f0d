// What dialogs are made of: the frame, waiting for answers, a field's fault, leaving with something unsaved.

import { Component, DAY_MS, ago, button, exact, explain, field, h, icon, isSaid, leaving, newId, note, now, t } from "./ui.js";

/**
 * A modal dialog. `leave()` is asked whenever somebody wants out (Escape, a back gesture; a click
 * outside only with `outside`); the dialog is there as long as its owner draws it.
 */
export class Dialog extends Component {
  constructor(props) {
    super(props);
    this.ids = { title: newId(), lead: newId() };
  }

  componentDidMount() {
    this.base.showModal();
    this.props.opened?.(this.base);
  }

  render({ title, className, lead, role, describedBy, alert, tools, summary, actions, leave, outside, children }) {
    const { ids } = this;
    const described = [lead && ids.lead, describedBy].filter(Boolean).join(" ");
    const escape = (event) => {
      event.preventDefault();
      leave();
    };
    return h("dialog", {
      class: className, role, "aria-labelledby": ids.title, "aria-describedby": described || undefined,
      onkeydown: (event) => event.key === "Escape" && !event.defaultPrevented && escape(event),
      oncancel: (event) => event.target === this.base && escape(event),
      // Browsers let a second Escape or a back gesture through, whatever `cancel` was told.
      onclose: () => {
        if (!this.base?.isConnected) return;
        this.base.showModal();
        leave();
      },
      onpointerdown: (event) => outside && event.target === this.base && isOutside(this.base, event) && leave(),
    },
    h("header", {}, h("h2", { id: ids.title, tabindex: "-1" }, title), lead && h("p", { id: ids.lead, class: "muted" }, lead)),
    tools,
    h("div", { class: "alerts", role: "alert" }, alert),
    h("div", { class: "body" }, children),
    h("footer", {}, summary, h("div", { class: "actions" }, actions)));
  }
}

function isOutside(dialog, { clientX, clientY }) {
  const box = dialog.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

/** A dialog's owner that waits for answers: one at a time, and clicks in between do nothing. */
export class Working extends Component {
  async work(run) {
    if (this.isBusy) return;
    this.isBusy = true;
    // What was said before goes, and the focus must not go with it.
    if (this.find(".alerts")?.contains(document.activeElement)) this.find("footer .primary")?.focus();
    this.setState({ busy: true, slow: false, alert: null });
    const timer = setTimeout(() => this.setState({ slow: true }), 4000);
    try {
      await run();
    } finally {
      clearTimeout(timer);
      this.isBusy = false;
      this.setState({ busy: false, slow: false });
    }
  }

  /** Shows an alert, then puts the focus where it is needed. */
  alert(alert, focus) {
    this.setState({ alert, slow: false }, () => focus && this.find(focus)?.focus());
  }

  find(selector) {
    return this.base?.querySelector(selector);
  }

  alerts({ alert, slow }) {
    return slow ? note("", h("p", {}, t("slow"))) : alert;
  }

  action(attributes, ...content) {
    return button({ ...attributes, "aria-disabled": this.state.busy ? "true" : undefined }, ...content);
  }
}

/** Asks before the page is left while `needed()`. */
export function guardLeaving(needed) {
  const ask = (event) => {
    if (!leaving.isMeant && needed()) event.preventDefault();
  };
  addEventListener("beforeunload", ask);
  return () => removeEventListener("beforeunload", ask);
}

/** When a key was last used, in words, and whether that was within a day. */
export function lastUse(at) {
  if (!at) return { text: t("use.never"), isRecent: false };
  return { text: [t("use.last", { ago: ago(at) }), h("span", { class: "muted" }, ` (${exact(at)})`), "."], isRecent: now() - new Date(at) < DAY_MS };
}
