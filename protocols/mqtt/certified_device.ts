/** Which device the client certificate of a TLS socket is of. */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { isName } from "../../actors/registry/names.ts";

export interface CertifiedDevice {
  readonly product: string;
  readonly device: string;
  /** Epoch milliseconds. */
  readonly endsAtMs: number;
}

/**
 * Undefined: it has none, or none that names a device and was issued by the configured client CA.
 * The caller asks only where one is configured: without it the system's issuers would count.
 * @param nowMs Epoch milliseconds; a resumed TLS session may be older than its certificate's end.
 */
export function certifiedDevice(socket: Socket, nowMs: number): CertifiedDevice | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { subject, valid_to } = socket.getPeerCertificate();
  const names = deviceIn(subject);
  const endsAtMs = Date.parse(valid_to);
  if (names === undefined || !(endsAtMs > nowMs)) return undefined;
  return { ...names, endsAtMs };
}

/** As node:tls tells it: a list where a part of the name comes again. */
interface Subject {
  readonly CN?: string | readonly string[];
  readonly O?: string | readonly string[];
}

/**
 * The common name is `{product}/{device}`; it holds 64 characters, so a longer name has the product as
 * its organization and the device as its common name. Names have no `/`: none is both.
 */
export function deviceIn(
  subject: Subject | undefined,
): { readonly product: string; readonly device: string } | undefined {
  const { CN, O } = subject ?? {};
  if (typeof CN !== "string") return undefined;
  const [first = "", second, ...rest] = CN.split("/");
  if (rest.length > 0) return undefined;
  const [product, device] = second === undefined ? [O, first] : [first, second];
  if (typeof product !== "string" || !isName(product) || !isName(device)) return undefined;
  return { product, device };
}
