/** One durable step of the store, with names that tests stop at. */
import type { DatabaseSync } from "node:sqlite";

/** Called at named moments; a test that throws there is a crash at that moment. */
export type OnStep = (name: string) => void;

/**
 * Runs `change` in a transaction that is on disk when this returns. A throw rolls everything back.
 * Moments: `{name}:before-commit`, `{name}:after-commit`.
 */
export function transact<T>(db: DatabaseSync, name: string, onStep: OnStep, change: () => T): T {
  db.exec("BEGIN IMMEDIATE");
  let result: T;
  try {
    result = change();
    onStep(`${name}:before-commit`);
    db.exec("COMMIT");
  } catch (fault) {
    if (db.isTransaction) db.exec("ROLLBACK"); // A full disk has rolled back by itself.
    throw fault;
  }
  onStep(`${name}:after-commit`);
  return result;
}
