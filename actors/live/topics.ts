/** What live feeds are of. A topic of a project has a key of its own in each project. */
import { isName } from "../registry/names.ts";

/** Topics of the node and of a project: one of each. */
export const PLAIN_TOPICS = ["ledger", "tree", "deadLetters", "devices", "jobs"] as const;

export type PlainTopic = typeof PLAIN_TOPICS[number];

export type LiveTopic =
  | { readonly type: PlainTopic }
  | { readonly type: "device"; readonly product: string; readonly device: string };

/** A topic as one project sees it. */
export interface KeyedTopic {
  /** Unique in the installation: `ledger`, `devices@default`, `device/pump/p-1`. */
  readonly key: string;
  /** As it stands in events: `devices`. */
  readonly name: string;
  readonly topic: LiveTopic;
}

/** `ledger`, `device/{product}/{device}`; undefined: there is no such topic. */
export function parseTopic(text: string): LiveTopic | undefined {
  const plain = PLAIN_TOPICS.find((type) => type === text);
  if (plain !== undefined) return { type: plain };
  const [type, product, device, ...rest] = text.split("/");
  if (type !== "device" || rest.length > 0) return undefined;
  if (product === undefined || device === undefined) return undefined;
  return isName(product) && isName(device) ? { type, product, device } : undefined;
}

export function keyedTopic(topic: LiveTopic, project: string): KeyedTopic {
  if (topic.type === "device") {
    const key = deviceKey(topic.product, topic.device);
    return { key, name: key, topic };
  }
  const { type } = topic;
  const isOfProject = type === "devices" || type === "jobs";
  return { key: isOfProject ? projectKey(type, project) : type, name: type, topic };
}

/** Products are unique in the installation: no project is needed. Also the address of its actor. */
export function deviceKey(product: string, device: string): string {
  return `device/${product}/${device}`;
}

export function projectKey(type: "devices" | "jobs", project: string): string {
  return `${type}@${project}`;
}
