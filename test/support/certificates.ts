/** Certificates for tests, made by openssl in a folder that is removed with them. */
import { join } from "node:path";
import { requirePeer } from "./peers.ts";

/** Paths of PEM files. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** Of the subject. */
  readonly commonName: string;
  readonly organization?: string;
  /** How long it is valid, days; below 0: it has ended. Default 30. */
  readonly days?: number;
  /** Such as `serverAuth`. Default: none said. */
  readonly usage?: string;
  /** Such as `IP:127.0.0.1`. */
  readonly altName?: string;
  /** Default: itself. */
  readonly issuer?: Certificate;
}

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

export class Certificates implements AsyncDisposable {
  readonly #dir = Deno.makeTempDirSync({ prefix: "roost-certificates-" });
  #made = 0;

  path(name: string): string {
    return join(this.#dir, name);
  }

  /** Throws if there is no openssl: ask `requirePeer` first. */
  async make(options: CertificateOptions): Promise<Certificate> {
    const { commonName, organization, altName, issuer, days = 30, usage } = options;
    const name = `${++this.#made}`;
    const [certificate, key] = [this.path(`${name}.crt`), this.path(`${name}.key`)];
    const parts = organization === undefined ? [] : [["O", organization]];
    const subject = ["-subj", [...parts, ["CN", commonName]].map(partOf).join("")];
    const extension = altName === undefined ? [] : ["-addext", `subjectAltName=${altName}`];
    const request = ["req", ...CURVE, ...subject, ...extension, "-keyout", key];
    if (issuer === undefined) {
      await openssl([...request, "-x509", "-days", "30", "-out", certificate]);
      return { certificate, key };
    }
    const asked = this.path(`${name}.csr`);
    await openssl([...request, "-out", asked]);
    const signer = ["-CA", issuer.certificate, "-CAkey", issuer.key, "-CAcreateserial"];
    const extensions = this.path(`${name}.ext`);
    const lines = ["basicConstraints=CA:FALSE"];
    if (altName !== undefined) lines.push(`subjectAltName=${altName}`);
    if (usage !== undefined) lines.push(`extendedKeyUsage=${usage}`);
    await Deno.writeTextFile(extensions, lines.map((line) => `${line}\n`).join(""));
    const signing = ["-in", asked, "-days", `${days}`, "-extfile", extensions, "-out", certificate];
    await openssl(["x509", "-req", ...signer, ...signing]);
    return { certificate, key };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#dir, { recursive: true });
  }
}

function partOf([name, value]: readonly string[]): string {
  return `/${name}=${value!.replaceAll("/", "\\/")}`;
}

async function openssl(args: readonly string[]): Promise<void> {
  const command = await requirePeer("openssl");
  if (command === undefined) throw new Error("openssl is missing");
  const { success, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  if (!success) throw new Error(`openssl ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
