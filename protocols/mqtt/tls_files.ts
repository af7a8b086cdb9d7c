/**
 * Certificate, key and client CA of the TLS listener, from their files. They are read again while the
 * listener runs, so that a certificate is renewed without a restart; what cannot be used is refused
 * and the one before stays in use.
 */
import { createPrivateKey, hash, X509Certificate } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import type { Config } from "../../runtime/config.ts";
import { InvalidError, messageOf } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";

/** Paths of PEM files. */
export interface TlsFiles {
  /** The server's certificate, followed by what it was issued by. */
  readonly certificate: string;
  readonly key: string;
  /** Who may issue certificates of devices. Absent: none is a login. */
  readonly clientCa?: string;
}

/** What the TLS listener is started with; undefined if TLS is not configured. */
export function tlsListenerOf(
  mqtt: Config["mqtt"],
  port = mqtt.tlsPort,
): TlsFiles & { readonly port: number } | undefined {
  const { tlsCertificate: certificate, tlsKey: key, tlsClientCa: clientCa } = mqtt;
  if (certificate === undefined || key === undefined) return undefined;
  return { port, certificate, key, ...(clientCa === undefined ? undefined : { clientCa }) };
}

/** As `node:tls` takes them. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

const RELOAD_MS = 10_000;

/** @throws {InvalidError} Naming the file. */
export async function readTlsFiles(files: TlsFiles): Promise<TlsMaterial> {
  const cert = await read(files.certificate);
  const key = await read(files.key);
  const certificate = parse(files.certificate, () => new X509Certificate(cert));
  const privateKey = parse(files.key, () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new InvalidError(`Cannot use ${files.key}: it is not the key of ${files.certificate}`);
  }
  const { clientCa } = files;
  if (clientCa === undefined) return { cert, key };
  const ca = await read(clientCa);
  parse(clientCa, () => new X509Certificate(ca));
  return { cert, key, ca };
}

/** Reads the files again and again; hands over what changed and can be used. */
export class TlsReload implements Disposable {
  readonly #files: TlsFiles;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #use: (material: TlsMaterial) => void;
  #print: string;
  #isStopped = false;
  #cancel: () => void;

  /** @param material In use. */
  constructor(
    files: TlsFiles,
    material: TlsMaterial,
    ports: { readonly clock: Clock; readonly logger: Logger },
    use: (material: TlsMaterial) => void,
  ) {
    this.#files = files;
    this.#clock = ports.clock;
    this.#logger = ports.logger;
    this.#use = use;
    this.#print = printOf(material);
    this.#cancel = this.#clock.after(RELOAD_MS, () => void this.#look());
  }

  [Symbol.dispose](): void {
    this.#isStopped = true;
    this.#cancel();
  }

  async #look(): Promise<void> {
    try {
      const material = await readTlsFiles(this.#files);
      const print = printOf(material);
      if (print !== this.#print && !this.#isStopped) {
        this.#use(material);
        this.#print = print;
        const { fingerprint256, validTo } = new X509Certificate(material.cert);
        this.#logger.info("TLS certificate reloaded", { fingerprint: fingerprint256, validTo });
      }
    } catch (fault) { // Perhaps half replaced: the next look may find them whole.
      this.#logger.warn("TLS files cannot be used, the ones before stay", {
        fault: messageOf(fault),
      });
    }
    if (!this.#isStopped) this.#cancel = this.#clock.after(RELOAD_MS, () => void this.#look());
  }
}

async function read(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (fault) {
    throw new InvalidError(`Cannot read ${path}: ${messageOf(fault)}`);
  }
}

function parse<Value>(path: string, parsed: () => Value): Value {
  try {
    return parsed();
  } catch (fault) {
    throw new InvalidError(`Cannot use ${path}: no PEM of the right kind (${messageOf(fault)})`);
  }
}

function printOf({ cert, key, ca = "" }: TlsMaterial): string {
  return hash("sha256", [cert, key, ca].join("\0"));
}
