/** The last transaction of an ended Worker: under way, and durable only after others went on. */

const HELD_MS = 300;

/**
 * Resolves when another thread has done `sql` in a transaction that it commits `HELD_MS` later. A
 * thread in the middle of a native call does so even if it was terminated.
 */
export async function beginSlowCommit(path: string, sql: string): Promise<Disposable> {
  const source = `
    import { DatabaseSync } from "node:sqlite";
    const database = new DatabaseSync(${JSON.stringify(path)});
    database.exec("begin immediate");
    database.exec(${JSON.stringify(sql)});
    self.postMessage("held");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${HELD_MS});
    database.exec("commit");
    database.close();
  `;
  const url = `data:text/javascript,${encodeURIComponent(source)}`;
  const worker = new Worker(url, { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  worker.onmessage = () => resolve();
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  await promise;
  return { [Symbol.dispose]: () => worker.terminate() };
}
