/**
 * Every setting of Roost: one strict schema, each field with unit, bounds, default and
 * description. `config.ts` reads it; the sample in `deploy/` is made from it.
 */
import { isIP } from "node:net";
import { BACKUP_SCHEMA } from "./backup_schema.ts";
import { MQTT_LIMITS_SCHEMA } from "./mqtt_limits_schema.ts";
import { z } from "./schema.ts";

export const NODE_ROLES = ["gateway", "worker", "camera", "api"] as const;
export type NodeRole = typeof NODE_ROLES[number];

/** What zod's registry keeps of a field besides its type. */
export interface FieldMeta {
  readonly description: string;
  readonly unit: string;
  /** In words, for the sample and for errors. */
  readonly bounds: string;
  readonly isSecret?: boolean;
}

function port(fallback: number, wire: string) {
  return z.int().min(0).max(65_535).default(fallback).meta(
    {
      description: `Port of ${wire}. 0 takes a free one; the ready line says which.`,
      unit: "port number",
      bounds: "0 to 65535",
    } satisfies FieldMeta,
  );
}

function pemFile(what: string) {
  return z.string().min(1).max(4_096).optional().meta(
    {
      description: `PEM file with ${what}. Read again when it changes.`,
      unit: "path",
      bounds: "1 to 4096 characters",
    } satisfies FieldMeta,
  );
}

function storeUrl(store: string) {
  return z.string().max(2_048).optional().meta(
    {
      description: `Where ${store} is. Reserved: this version runs embedded only and refuses it.`,
      unit: "URL",
      bounds: "must not be set",
      isSecret: true,
    } satisfies FieldMeta,
  );
}

function masterKey(description: string) {
  return z.string().regex(/^[A-Za-z0-9_-]{43}$/).optional().meta(
    {
      description,
      unit: "text",
      bounds: "43 characters of base64url: 32 random bytes",
      isSecret: true,
    } satisfies FieldMeta,
  );
}

const SHAPE = z.strictObject({
  listen: z.string().refine((text) => isIP(text) !== 0).default("127.0.0.1").meta(
    {
      description: "Address that every listener binds. 0.0.0.0 or :: opens them to the network.",
      unit: "IP address",
      bounds: "an IPv4 or IPv6 address",
    } satisfies FieldMeta,
  ),
  http: z.strictObject({ port: port(8080, "HTTP: API, ingest and console") }).prefault({}),
  mqtt: z.strictObject({
    port: port(1883, "MQTT for devices, also by WebSocket at /mqtt"),
    tlsCertificate: pemFile("the server's certificate and its issuers; turns TLS on"),
    tlsKey: pemFile("the private key of that certificate"),
    tlsClientCa: pemFile("the issuers of devices' certificates, for logins with one"),
    tlsPort: port(8883, "the same over TLS, if a certificate is set"),
  }).prefault({}),
  mqttLimits: MQTT_LIMITS_SCHEMA.prefault({}),
  coap: z.strictObject({ port: port(5683, "CoAP; reserved, nothing listens yet") }).prefault({}),
  tcp: z.strictObject({ port: port(1884, "plain TCP; reserved, nothing listens yet") })
    .prefault({}),
  data: z.strictObject({
    dir: z.string().min(1).max(4_096).default("./data").meta(
      {
        description: "Directory of all that is stored. One process at a time may use it.",
        unit: "path",
        bounds: "1 to 4096 characters",
      } satisfies FieldMeta,
    ),
  }).prefault({}),
  owner: z.strictObject({
    password: z.string().min(12).max(128).optional().meta(
      {
        description: "Password of the user `owner` made at the first start. Unset: a random one " +
          "is printed once.",
        unit: "text",
        bounds: "12 to 128 characters",
        isSecret: true,
      } satisfies FieldMeta,
    ),
  }).prefault({}),
  secrets: z.strictObject({
    masterKey: masterKey(
      "Key that secrets in the data are sealed with. Unset: that of `secrets.keyFile`, which the " +
        "first start makes.",
    ),
    previousMasterKey: masterKey(
      "The key until now, when `secrets.masterKey` is another one than before: what it sealed is " +
        "sealed again.",
    ),
    keyFile: z.string().min(1).max(4_096).optional().meta(
      {
        description: "File of the master keys, readable by its owner only. Unset: `master.key` " +
          "in `data.dir`.",
        unit: "path",
        bounds: "1 to 4096 characters",
      } satisfies FieldMeta,
    ),
  }).prefault({}),
  backup: BACKUP_SCHEMA.prefault({}),
  node: z.strictObject({
    id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/).default("node-1").meta(
      {
        description: "Name of this node, unique in its cluster.",
        unit: "text",
        bounds: "1 to 64 of A-Z a-z 0-9 _ -",
      } satisfies FieldMeta,
    ),
    roles: z.array(z.enum(NODE_ROLES)).min(1).max(NODE_ROLES.length).default([...NODE_ROLES]).meta(
      {
        description: "What this node does. In the environment separated by commas.",
        unit: "list",
        bounds: `one or more of ${NODE_ROLES.join(", ")}`,
      } satisfies FieldMeta,
    ),
  }).prefault({}),
  log: z.strictObject({
    level: z.enum(["debug", "info", "warn", "error"]).default("info").meta(
      {
        description: "Least severe lines that are written to standard error.",
        unit: "level",
        bounds: "debug, info, warn or error",
      } satisfies FieldMeta,
    ),
  }).prefault({}),
  telemetry: z.strictObject({
    retentionDays: z.int().min(1).max(36_500).optional().meta(
      {
        description: "How long history is kept. Unset: for ever, until the disk reserve is met.",
        unit: "days",
        bounds: "1 to 36500",
      } satisfies FieldMeta,
    ),
  }).prefault({}),
  console: z.strictObject({
    build: z.enum(["auto", "never"]).default("auto").meta(
      {
        description: "auto: the console is built in the background at the first start after a " +
          "change of its sources. never: `deno task build` makes it.",
        unit: "choice",
        bounds: "auto or never",
      } satisfies FieldMeta,
    ),
  }).prefault({}),
  demo: z.strictObject({
    plant: z.enum(["off", "run", "remove"]).default("off").meta(
      {
        description: "run: a small demo plant (pumps, meters, doors) runs inside the process, as " +
          "`--demo` asks for. remove: its devices and products are removed, as by `--demo=remove`.",
        unit: "choice",
        bounds: "off, run or remove",
      } satisfies FieldMeta,
    ),
  }).prefault({}),
  redis: z.strictObject({ url: storeUrl("Redis") }).prefault({}),
  mysql: z.strictObject({ url: storeUrl("MySQL") }).prefault({}),
  elasticsearch: z.strictObject({ url: storeUrl("Elasticsearch") }).prefault({}),
});

/** Relations between fields. */
export const CONFIG_SCHEMA = SHAPE.superRefine((config, context) => {
  const { masterKey, previousMasterKey, keyFile } = config.secrets;
  if (masterKey === undefined && previousMasterKey !== undefined) {
    const message = "it needs secrets.masterKey, the new one";
    context.addIssue({ code: "custom", path: ["secrets", "previousMasterKey"], message });
  }
  if (masterKey !== undefined && keyFile !== undefined) {
    const message = "secrets.masterKey is set: there is no file";
    context.addIssue({ code: "custom", path: ["secrets", "keyFile"], message });
  }
  if (config.backup.passphrase !== undefined && config.backup.keyFile !== undefined) {
    const message = "backup.passphrase is set: only one of them seals";
    context.addIssue({ code: "custom", path: ["backup", "keyFile"], message });
  }
  for (const store of ["redis", "mysql", "elasticsearch"] as const) {
    if (config[store].url === undefined) continue;
    const message = "this version runs embedded only: it keeps everything in data.dir and " +
      "needs no other store; remove the setting";
    context.addIssue({ code: "custom", path: [store, "url"], message });
  }
  const { tlsCertificate, tlsKey, tlsClientCa } = config.mqtt;
  if (tlsCertificate === undefined ? tlsKey ?? tlsClientCa : !tlsKey) {
    const [missing, given] = tlsCertificate === undefined
      ? ["tlsCertificate", tlsKey === undefined ? "tlsClientCa" : "tlsKey"]
      : ["tlsKey", "tlsCertificate"];
    const message = `mqtt.${given} needs it`;
    context.addIssue({ code: "custom", path: ["mqtt", missing], message });
  }
  const { http, mqtt, tcp } = config;
  const ports = new Map([["http.port", http.port], ["mqtt.port", mqtt.port]]);
  if (tlsCertificate !== undefined) ports.set("mqtt.tlsPort", mqtt.tlsPort);
  ports.set("tcp.port", tcp.port);
  const taken = new Map<number, string>();
  for (const [field, port] of ports) {
    const other = taken.get(port);
    if (other === undefined || port === 0) taken.set(port, field);
    else {
      const message = `the port is that of ${other}, too`;
      context.addIssue({ code: "custom", path: field.split("."), message });
    }
  }
});

export type Config = DeepReadonly<z.output<typeof SHAPE>>;

type DeepReadonly<T> = T extends readonly (infer Item)[] ? readonly DeepReadonly<Item>[]
  : T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
  : T;

export interface ConfigField extends FieldMeta {
  readonly path: readonly string[];
  /** `ROOST__HTTP__PORT`. */
  readonly variable: string;
  readonly type: "number" | "string" | "list";
  readonly fallback: unknown;
}

export const CONFIG_FIELDS: readonly ConfigField[] = fieldsOf(SHAPE, []);

function fieldsOf(schema: z.ZodType, path: readonly string[]): ConfigField[] {
  if (schema instanceof z.ZodPrefault) return fieldsOf(schema.unwrap() as z.ZodType, path);
  if (schema instanceof z.ZodObject) {
    return Object.entries(schema.shape).flatMap(([key, inner]) =>
      fieldsOf(inner as z.ZodType, [...path, key])
    );
  }
  const inner = schema instanceof z.ZodDefault || schema instanceof z.ZodOptional
    ? schema.unwrap()
    : schema;
  const isList = inner instanceof z.ZodArray;
  return [{
    ...(schema.meta() as unknown as FieldMeta),
    path,
    variable: variableOf(path),
    type: isList ? "list" : inner instanceof z.ZodNumber ? "number" : "string",
    fallback: schema.parse(undefined),
  }];
}

/** `["http", "bodyBytesMax"]` is `ROOST__HTTP__BODY_BYTES_MAX`. */
function variableOf(path: readonly string[]): string {
  const words = path.map((key) => key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase());
  return ["ROOST", ...words].join("__");
}
