// A rule for tokens of another platform: forms for the usual ones, and what they come to.

import { h, t } from "./ui.js";
import { fault, idsOf, radios } from "./form.js";
import { keyField, keyIds, readKeys } from "./jwk.js";

const GITHUB = "https://token.actions.githubusercontent.com";

/**
 * Each platform's boxes, and what its tokens say. `ref` is a branch: without one, every run of the repository is
 * trusted. The forms of the subjects are those of the platforms' own documents.
 */
const PLATFORMS = {
  github: {
    boxes: { repository: /^[\w.-]+\/[\w.-]+$/, branch: /^$|^[^\s*]+$/, environment: /^$|^[^*:]+$/ },
    rule: ({ repository, branch, environment }) => ({
      issuer: GITHUB,
      subject: `repo:${repository}:${environment ? `environment:${environment}` : branch ? `ref:refs/heads/${branch}` : "*"}`,
      // The subject of a job in an environment leaves its branch out.
      claims: environment && branch ? { ref: `refs/heads/${branch}` } : {},
    }),
  },
  gitlab: {
    boxes: { server: /^https:\/\/\S+$/, project: /^[^\s*:/]+(\/[^\s*:/]+)+$/, branch: /^$|^[^\s*]+$/ },
    rule: ({ server, project, branch }) => ({ issuer: server.replace(/\/$/, ""), subject: `project_path:${project}:${branch ? `ref_type:branch:ref:${branch}` : "*"}`, claims: {} }),
  },
  kubernetes: {
    boxes: { issuer: /^\S+$/, namespace: /^[a-z0-9-]+$/, account: /^[a-z0-9.-]+$/ },
    rule: ({ issuer, namespace, account }) => ({ issuer, subject: `system:serviceaccount:${namespace}:${account}`, claims: {} }),
  },
  other: {
    boxes: { issuer: /^\S+$/, subject: /\S/ },
    rule: ({ issuer, subject }) => ({ issuer, subject, claims: {} }),
  },
};
const ALWAYS = { audience: /^\S+$/ };

export const workloadIds = () => ({ platform: idsOf("group", "hint", "fault"), keys: keyIds(), boxes: Object.fromEntries(["repository", "branch", "environment", "server", "project", "issuer", "namespace", "account", "subject", "audience", "claims"].map((name) => [name, idsOf("box", "fault")])) });

export const newWorkload = () => ({ platform: "github", texts: { server: "https://gitlab.com", audience: location.origin }, wrong: {}, keyText: "", keyWrong: null, isPinned: false });

const boxesOf = (platform) => ({ ...PLATFORMS[platform].boxes, ...ALWAYS });

/** `name=value` on each line. */
function claimsOf(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  const pairs = lines.map((line) => /^([^=\s]+)\s*=\s*(.*)$/.exec(line));
  return pairs.every(Boolean) ? Object.fromEntries(pairs.map(([, name, value]) => [name, value])) : null;
}

/** `{ rule }` as the API takes it, or `{ state }` with what is wrong. */
export async function readWorkload(state) {
  const { platform, texts, keyText } = state;
  const values = Object.fromEntries(Object.keys(boxesOf(platform)).map((name) => [name, (texts[name] ?? "").trim()]));
  const wrong = {};
  for (const [name, form] of Object.entries(boxesOf(platform))) {
    if (!form.test(values[name])) wrong[name] = t(values[name] ? `fault.workloads.${name}` : "fault.workloads.required");
  }
  const claims = claimsOf(texts.claims ?? "");
  if (!claims) wrong.claims = t("fault.workloads.claims");
  const pinned = keyText.trim() ? await readKeys(keyText, { mayBeAddress: false }) : {};
  if (Object.keys(wrong).length || pinned.wrong) return { state: { ...state, wrong, keyWrong: pinned.wrong ?? null, isPinned: state.isPinned || Boolean(wrong.claims || pinned.wrong) } };
  const rule = PLATFORMS[platform].rule(values);
  return { rule: { ...rule, audience: values.audience, claims: { ...rule.claims, ...claims }, ...(pinned.keys && { jwks: { keys: pinned.keys } }) } };
}

/** The state with what the server has against the rule; null if that is not what it refused. */
export function refusedWorkload(state, { fields = [] }) {
  const faults = fields.map(({ field, code }) => [/(?:^|\.)(issuer|audience|subject|claims|jwks)$/.exec(field)?.[1] ?? (field.startsWith("workloads") ? "subject" : null), code]).filter(([name]) => name);
  if (!faults.length) return null;
  const boxes = boxesOf(state.platform);
  const wrong = {};
  let keyWrong = null;
  let isOpen = false;
  for (const [name, code] of faults) {
    const isPinnable = ["private_address", "invalid_url"].includes(code);
    isOpen ||= isPinnable;
    if (code === "outbound_off" || name === "jwks") keyWrong = t(code === "outbound_off" ? "fault.workloads.outbound_off" : "fault.keys.malformed_key");
    else wrong[name in boxes || name === "claims" ? name : Object.keys(boxes)[0]] = t(isPinnable || ["too_many", "duplicate"].includes(code) ? `fault.workloads.${code}` : "fault.workloads.other");
  }
  return { ...state, wrong, keyWrong, isPinned: state.isPinned || isOpen || Boolean(keyWrong || wrong.claims) };
}

/** What the filled-in boxes come to, as far as they are filled in. */
function outlook({ platform, texts }) {
  const { boxes, rule } = PLATFORMS[platform];
  const values = Object.fromEntries(Object.keys(boxes).map((name) => [name, (texts[name] ?? "").trim()]));
  if (!Object.entries(boxes).every(([name, form]) => form.test(values[name]))) return null;
  const { issuer, subject } = rule(values);
  const code = (text) => h("code", { translate: false }, text);
  return t("workloads.outlook", { issuer: code(issuer), subject: code(subject) });
}

export function workloadFields(ids, state, change) {
  const box = (name, element = "input", more = {}) => {
    const { box: id, fault: describe } = ids.boxes[name];
    return h("div", { class: "field", key: `${state.platform}-${name}` },
      h("label", { for: id }, t(`workloads.${name}`)),
      h(element, { id, spellcheck: false, autocomplete: "off", ...(element === "input" && { type: "text" }), value: state.texts[name] ?? "", "aria-invalid": String(Boolean(state.wrong[name])), "aria-describedby": describe, ...more,
        oninput: ({ currentTarget }) => change({ texts: { ...state.texts, [name]: currentTarget.value }, wrong: { ...state.wrong, [name]: null } }) }),
      fault(describe, state.wrong[name]));
  };
  return [
    radios({ ids: ids.platform, legend: t("workloads.platform"), chosen: state.platform, className: "four", choose: (platform) => change({ platform, wrong: {} }),
      options: Object.keys(PLATFORMS).map((value) => ({ value, label: t(`workloads.platform.${value}`) })) }),
    Object.keys(boxesOf(state.platform)).map((name) => box(name)),
    h("p", { class: "muted fine outlook-line" }, outlook(state) ?? t("workloads.audience.hint")),
    h("details", { class: "field", open: state.isPinned, ontoggle: ({ currentTarget }) => currentTarget.open !== state.isPinned && change({ isPinned: currentTarget.open }) },
      h("summary", {}, t("workloads.more")),
      box("claims", "textarea", { rows: 2, class: "code" }),
      keyField(ids.keys, state, change, "workloads.keys")),
  ];
}
