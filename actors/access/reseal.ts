/** What is sealed with master keys, row by row: counted, and sealed again with the current one. */
import type { Clock } from "../../runtime/clock.ts";
import type { Keyring, SealedPlace } from "../../runtime/secret/keyring.ts";
import { sealedHead } from "../audit/audit_log.ts";
import { currentPlace, oldPlace } from "../device/device_secrets.ts";
import type { RegistryStore } from "../registry/registry_store.ts";

/** A column of sealed texts in a table of devices. */
export interface SealedText {
  readonly table: string;
  readonly column: string;
  readonly place: (product: string, device: string) => SealedPlace;
}

export interface ResealOptions {
  readonly store: RegistryStore;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly isStopping: () => boolean;
}

export const SEALED_TEXTS: readonly SealedText[] = [
  { table: "devices", column: "secret_sealed", place: currentPlace },
  { table: "device_secrets", column: "sealed", place: oldPlace },
];
/** Rows of one transaction: it holds up others for some milliseconds. */
const SLICE_ROWS = 200;
/** Characters of a sealed text up to the end of its key's id. */
const SEALED_HEAD = "v1.".length + 12;
/** Rows that are counted at a stretch: about a millisecond. */
const COUNTED_ROWS = 250;

/** Rows by the key that they name, counted in slices. */
export async function countSealed(
  { store, clock, isStopping }: Omit<ResealOptions, "keyring">,
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  const count = (id: string, rows: number) => void counts.set(id, (counts.get(id) ?? 0) + rows);
  for (const { table, column } of SEALED_TEXTS) {
    const endOf = store.reader.prepareOne(
      `select product, device from ${table}
       where ${column} is not null and (product, device) > (?, ?)
       order by product, device limit 1 offset ${COUNTED_ROWS - 1}`,
    );
    const countOf = (upTo: string) =>
      store.reader.prepareAll(
        `select substr(${column}, 1, ${SEALED_HEAD}) as head, count(*) as n from ${table}
         where ${column} is not null and (product, device) > (?, ?) ${upTo} group by 1`,
      );
    const [slice, rest] = [countOf("and (product, device) <= (?, ?)"), countOf("")];
    for (let after: readonly [string, string] | undefined = ["", ""]; after !== undefined;) {
      if (isStopping()) return counts;
      const last = endOf(...after);
      const end = last && [String(last.product), String(last.device)] as const;
      const heads = end === undefined ? rest(...after) : slice(...after, ...end);
      for (const { head, n } of heads) count(String(head).split(".")[1]!, Number(n));
      after = end;
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
  }
  for (const { mac, kept_mac } of store.reader.prepareAll("select * from audit_heads")()) {
    for (const id of new Set([mac, kept_mac].map((text) => String(text).split(".", 1)[0]!))) {
      count(id, 1);
    }
  }
  return counts;
}

/** @returns How many cannot be opened by the key that they name; they stay as they are. */
export async function resealTexts(
  { store, keyring, clock, isStopping }: ResealOptions,
  { table, column, place }: SealedText,
): Promise<number> {
  const page = store.reader.prepareAll(
    `select product, device, ${column} as sealed from ${table}
     where ${column} is not null and ${column} not like ? and (product, device) > (?, ?)
     order by product, device limit ${SLICE_ROWS}`,
  );
  const update = `update ${table} set ${column} = ?
    where product = ? and device = ? and ${column} = ?`;
  let after: readonly [string, string] = ["", ""];
  let broken = 0;
  while (!isStopping()) {
    const rows = page(`v1.${keyring.currentId}.%`, ...after).map((row) => {
      return {
        product: String(row.product),
        device: String(row.device),
        sealed: String(row.sealed),
      };
    });
    const last = rows.at(-1);
    if (last === undefined) break;
    const fresh: (readonly [string, string, string, string])[] = [];
    for (const { product, device, sealed } of rows) {
      const at = place(product, device);
      const text = await keyring.open(sealed, at).catch(() => undefined);
      if (text === undefined) broken++;
      else fresh.push([await keyring.seal(text, at), product, device, sealed]);
    }
    // One that was changed meanwhile is sealed with the current key already.
    await store.write((writer) => {
      for (const row of fresh) writer.run(update, ...row);
    });
    after = [last.product, last.device];
    await new Promise<void>((resolve) => clock.soon(resolve));
  }
  return broken;
}

/** Seals of the audit. One that is not ours stays as it is, and is found as such. */
export async function resealHeads(
  { store, keyring, isStopping }: ResealOptions,
): Promise<void> {
  const like = `${keyring.currentId}.%`;
  const projects = store.reader.prepareAll(
    "select project from audit_heads where mac not like ? or kept_mac not like ? order by project",
  )(like, like).map(({ project }) => String(project));
  for (let from = 0; from < projects.length && !isStopping(); from += SLICE_ROWS) {
    await store.write((writer) => {
      for (const project of projects.slice(from, from + SLICE_ROWS)) {
        const head = writer.get("select * from audit_heads where project = ?", project);
        if (head === undefined) continue;
        const renew = (mac: unknown, purpose: string, seq: unknown, hash: unknown) => {
          const bytes = sealedHead(project, Number(seq), hash as Uint8Array);
          const isOurs = keyring.isMac(String(mac), purpose, bytes);
          return isOurs ? keyring.mac(purpose, bytes) : String(mac);
        };
        writer.run(
          "update audit_heads set mac = ?, kept_mac = ? where project = ?",
          renew(head.mac, "audit head", head.seq, head.hash),
          renew(head.kept_mac, "audit start", head.kept_after, head.kept_hash),
          project,
        );
      }
    });
  }
}
