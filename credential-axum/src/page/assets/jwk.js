// Public keys as people have them: PEM, JWK, a set of them, or the address of one. What is private gets no further.

import { h, t } from "./ui.js";
import { fault, faultFrom, idsOf } from "./form.js";

/** What makes a key of each type, without what others wrote beside it. */
const MATERIAL = { RSA: ["n", "e"], EC: ["crv", "x", "y"], OKP: ["crv", "x"] };
/** A key that is private or symmetric, or a client secret. Long runs of letters alone are none: public keys have them. */
const PRIVATE = /PRIVATE KEY|Private-Lines|"(?:d|p|q|dp|dq|qi|oth|k)"\s*:|"kty"\s*:\s*"oct"|_(?:sandbox|production)_[0-9A-Za-z]{23,}/;
/** The same for every key on Ed25519 (RFC 8410 §4). */
const ED25519 = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const ALGORITHMS = [
  { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  { name: "ECDSA", namedCurve: "P-256" },
  { name: "ECDSA", namedCurve: "P-384" },
];
const MOST = 10;

const isPrivate = (text) => PRIVATE.test(text);
export const isAddress = (text) => /^\s*https?:/i.test(text);

/** `{ keys }` as JWKs, `{ uri }`, or `{ wrong }` in words. */
export async function readKeys(text, { mayBeAddress = true } = {}) {
  const wrong = (code) => ({ wrong: t(`fault.keys.${code}`, { count: MOST }) });
  if (!text.trim()) return wrong("required");
  if (isPrivate(text)) return wrong("private_key");
  if (isAddress(text)) return mayBeAddress ? { uri: text.trim() } : wrong("malformed_key");
  const blocks = [...text.matchAll(/-----BEGIN ([^-]+)-----([^-]*)-----END/g)];
  let keys;
  try {
    if (blocks.some(([, label]) => label !== "PUBLIC KEY")) return wrong("not_spki");
    if (blocks.length && !globalThis.crypto?.subtle) return wrong("insecure");
    keys = blocks.length ? await Promise.all(blocks.map(([, , body]) => fromSpki(body))) : fromJson(JSON.parse(text));
  } catch {
    return wrong("malformed_key");
  }
  if (keys.includes(null)) return wrong("unsupported_key");
  return keys.length > MOST ? wrong("too_many") : { keys };
}

function fromJson(json) {
  const keys = "keys" in json ? json.keys : [json];
  if (!Array.isArray(keys) || !keys.length || !keys.every((key) => typeof key?.kty === "string")) throw new TypeError("no key");
  return keys;
}

/** A SubjectPublicKeyInfo (RFC 5280), as `openssl pkey -pubout` prints it; null if it is of another kind. */
async function fromSpki(base64) {
  const der = Uint8Array.from(atob(base64.replace(/\s/g, "")), (character) => character.charCodeAt(0));
  if (der.length === 44 && ED25519.every((byte, at) => der[at] === byte)) {
    const x = btoa(String.fromCharCode(...der.slice(12))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    return { kty: "OKP", crv: "Ed25519", x };
  }
  for (const algorithm of ALGORITHMS) {
    try {
      const jwk = await crypto.subtle.exportKey("jwk", await crypto.subtle.importKey("spki", der, algorithm, true, ["verify"]));
      return Object.fromEntries(["kty", ...MATERIAL[jwk.kty]].map((member) => [member, jwk[member]]));
    } catch {
      // Of another type.
    }
  }
  return null;
}

export const keyIds = () => idsOf("box", "hint", "fault");

/** A private key that is pasted does not even get in, so that no undo brings it back. */
export function keyField(ids, { keyText, keyWrong }, change, words = "keys") {
  const found = (event) => {
    event.currentTarget.value = "";
    change({ keyText: "", keyWrong: t("fault.keys.private_key") });
  };
  return h("div", { class: "field" },
    h("label", { for: ids.box }, t(`${words}.box`)),
    h("p", { id: ids.hint, class: "muted" }, t(`${words}.box.hint`)),
    h("textarea", { id: ids.box, class: "code", rows: 5, spellcheck: false, autocomplete: "off", value: keyText, "aria-invalid": String(Boolean(keyWrong)), "aria-describedby": `${ids.fault} ${ids.hint}`,
      onpaste: (event) => {
        if (!isPrivate(event.clipboardData?.getData("text") ?? "")) return;
        event.preventDefault();
        found(event);
      },
      oninput: (event) => (isPrivate(event.currentTarget.value) ? found(event) : change({ keyText: event.currentTarget.value, keyWrong: null })) }),
    fault(ids.fault, keyWrong));
}

/** What the server has against keys or their address, if that is what it refused. */
export function keyFaultOf({ fields = [] }) {
  const found = fields.find(({ field }) => /jwks(_uri)?$/.test(field));
  return found ? faultFrom([{ ...found, field: "keys" }], "keys", "keys", { count: MOST }) : null;
}
