/** How devices of a product may prove who they are. */
import type { Issue } from "../../runtime/errors.ts";

/**
 * `secret`: by the secret itself. `signed`: by a signature with it, for which it is kept readable.
 * `x509`: by a client certificate, where TLS is on.
 */
export const CREDENTIAL_KINDS = ["secret", "signed", "x509"] as const;

export type CredentialKind = typeof CREDENTIAL_KINDS[number];

export const DEFAULT_CREDENTIALS: readonly CredentialKind[] = ["secret"];

export function credentialIssues(kinds: readonly string[]): Issue[] {
  const list = CREDENTIAL_KINDS.join(", ");
  if (kinds.length === 0 || new Set(kinds).size !== kinds.length) {
    const message = `Cannot accept ${kinds.length} credentials: each of ${list} once, one at least`;
    return [{ path: "credentials", rule: "size", message }];
  }
  return kinds.flatMap((kind, index) => {
    if (CREDENTIAL_KINDS.includes(kind as CredentialKind)) return [];
    const message = `Cannot accept this credential: one of ${list}`;
    return [{ path: `credentials.${index}`, rule: "enum", message }];
  });
}

/** As a row has them. */
export function parseCredentials(text: string): readonly CredentialKind[] {
  return JSON.parse(text);
}
