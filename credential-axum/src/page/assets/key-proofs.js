// What a key signs in with beside secrets: public keys and trusted workloads, as they are and to be changed.

import { ago, button, day, h, icon, t, time } from "./ui.js";

const code = (text) => h("code", { translate: false }, text);

export const keyName = ({ kid, thumbprint }) => kid ?? `…${thumbprint.slice(-8)}`;
const namedKey = (key) => t("proof.key", { name: code(keyName(key)) });
const namedWorkload = ({ subject }) => t("proof.workload", { name: code(subject) });
const namedAddress = (uri) => t("proof.address", { name: code(uri) });

/** One row each, as secrets have theirs. */
export function proofRows({ keys, workloads, jwks_uri: uri }) {
  const row = (id, name, ...facts) => h("li", { key: id }, h("div", { class: "about" }, h("strong", {}, name), facts.filter(Boolean).map((fact) => h("span", {}, fact))));
  const used = ({ last_used_at: at }) => (at ? t("secret.used", { ago: time(at, ago(at)) }) : t("secret.unused"));
  const made = ({ created_at: at }) => at && t("secret.made", { when: time(at, day(at)) });
  return [
    ...keys.map((key) => row(key.thumbprint, namedKey(key), [key.kty, key.alg].filter(Boolean).join(", "), made(key), used(key), t("proof.thumbprint", { thumbprint: code(key.thumbprint) }))),
    uri && row("uri", namedAddress(uri)),
    ...workloads.map((rule) => row(rule.id, namedWorkload(rule), t("proof.issuer", { issuer: code(rule.issuer) }), t("proof.audience", { audience: code(rule.audience) }),
      Object.keys(rule.claims ?? {}).length > 0 && t("proof.claims", { claims: code(Object.entries(rule.claims).map(([name, value]) => `${name}=${value}`).join(", ")) }), rule.jwks && t("proof.pinned"), made(rule), used(rule))),
  ].filter(Boolean);
}

/** Below Advanced: each kind as a group, where the deployment offers it or the key has some. */
export function proofGroups({ key, policy, mayEdit, addKeys, addWorkload, remove }) {
  const { keys, workloads, jwks_uri: uri } = key;
  const offers = (kind) => policy.authentication.includes(kind);
  const group = (kind, entries, add) => h("div", { class: "networks", role: "group", "aria-labelledby": `${kind}-title` },
    h("h3", { id: `${kind}-title` }, t(kind)), h("p", { class: "muted" }, t(`${kind}.hint`)),
    entries.length > 0 && h("ul", {}, entries.map(({ id, name, what, entry }) => h("li", { key: id }, h("span", {}, name),
      mayEdit && button({ class: "quiet small", id: `remove-${id}`, "aria-label": t("proofs.remove.of", { name: what }), title: t("proofs.remove"), onclick: () => remove(kind, entry) }, icon("close"))))),
    mayEdit && add);
  return [
    (offers("public_key") || keys.length > 0 || uri) && group("keys",
      uri ? [{ id: "address", name: namedAddress(uri), what: uri, entry: { uri } }] : keys.map((entry) => ({ id: entry.thumbprint, name: namedKey(entry), what: keyName(entry), entry })),
      button({ class: "small", id: "add-keys", onclick: addKeys }, icon("plus"), t("keys.add"))),
    (offers("workload") || workloads.length > 0) && group("workloads", workloads.map((entry) => ({ id: entry.id, name: namedWorkload(entry), what: entry.subject, entry })),
      button({ class: "small", id: "add-workload", onclick: addWorkload }, icon("plus"), t("workloads.add"))),
  ];
}
