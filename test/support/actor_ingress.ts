/** An ingress that answers questions by the product's own actors, in memory and at once. */
import { BEHAVIOURS } from "../../actors/behaviours.ts";
import { CALLS, type CommandMessage, type CommandState } from "../../actors/command/messages.ts";
import { createMemoryCalls } from "../../actors/command/call_rows.ts";
import type { DeviceMessage, DeviceState, PresenceRow } from "../../actors/device/messages.ts";
import { PRESENCE } from "../../actors/device/views.ts";
import { idOf, kindOf } from "../../runtime/actor/address.ts";
import type { Context, Json, Message } from "../../runtime/actor/behaviour.ts";
import { TimeoutError } from "../../runtime/errors.ts";
import type { AskOptions } from "../../runtime/log/ingress.ts";
import { FakeIngress } from "./fake_ingress.ts";
import type { ManualClock } from "./manual_clock.ts";

export class ActorIngress extends FakeIngress {
  /** Of devices, by address. */
  readonly states = new Map<string, DeviceState>();
  /** View `presence`, as the actors project it. */
  readonly presence = new Map<string, PresenceRow>();
  /** View `calls`, likewise. */
  readonly calls = createMemoryCalls();
  /** To connections, in order. */
  readonly downlinks: { readonly from: string; readonly message: Message }[] = [];
  /** Called after a downlink of the device. */
  onDownlink: (product: string, device: string) => void = () => {};
  /** Called with what actors publish. */
  onPublished: (topic: string, value: Json) => void = () => {};
  /** Questions stay unanswered. */
  isSilent = false;
  readonly #clock: ManualClock;
  /** Of calls, by address. */
  readonly commands = new Map<string, CommandState>();
  readonly #reminders = new Map<string, () => void>();
  #version = 0;

  constructor(clock: ManualClock) {
    super({ isAutomatic: true });
    this.#clock = clock;
  }

  override ask(address?: string, message?: Message, options?: AskOptions): Promise<unknown> {
    if (options?.onOffered !== undefined) {
      this.settle();
      options.onOffered(this.settled, 0);
    }
    if (this.isSilent) return Promise.reject(new TimeoutError("desire", 2_000));
    return Promise.resolve(this.handle(address!, message!));
  }

  /** Hands one message to the actor, and what it sends to the others. Returns its reply. */
  handle(address: string, message: DeviceMessage | CommandMessage | Message): unknown {
    let reply: unknown;
    const queue: [string, Message][] = [[address, message]];
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [to, each] = next;
      const states = kindOf(to) === "device" ? this.states : this.commands;
      const behaviour = BEHAVIOURS.get(kindOf(to))!;
      const context = this.#context(to, (...sent) => void queue.push(sent), (value) => {
        reply ??= value;
      });
      const state = states.get(to) ?? behaviour.initial(idOf(to));
      const after = behaviour.receive(state, each, context);
      if (after === null) states.delete(to);
      else states.set(to, after as DeviceState & CommandState);
    }
    return reply;
  }

  /** Hands everything that was offered so far to its actors. */
  handleOffered(): void {
    for (const { to, body } of this.messages.splice(0)) this.handle(to, body);
  }

  #context(
    address: string,
    send: (to: string, message: Message) => void,
    answer: (value: Json) => void,
  ): Context {
    const ignore = () => {};
    return {
      address,
      nowMs: this.#clock.nowMs(),
      recordId: "1-0-0",
      traceId: "1-0-0",
      send,
      record: ignore,
      project: (view, key, row) => this.#project(view, key, row),
      remind: (name, dueAtMs, message) => {
        this.#cancel(address, name);
        const cancel = this.#clock.after(dueAtMs - this.#clock.nowMs(), () => {
          this.#reminders.delete(`${address} ${name}`);
          this.handle(address, message);
        });
        this.#reminders.set(`${address} ${name}`, cancel);
      },
      cancelReminder: (name) => this.#cancel(address, name),
      reply: (state, value) => {
        answer(value);
        return state;
      },
      downlink: (message) => {
        this.downlinks.push({ from: address, message });
        const [product, device] = idOf(address).split("/") as [string, string];
        queueMicrotask(() => this.onDownlink(product, device));
      },
      publish: (topic, value) => this.onPublished(topic, value),
      activity: ignore,
    };
  }

  #cancel(address: string, name: string): void {
    this.#reminders.get(`${address} ${name}`)?.();
    this.#reminders.delete(`${address} ${name}`);
  }

  #project(view: string, key: string, row: Json | undefined): void {
    const version = ++this.#version;
    if (view === CALLS) {
      const write = { view, key, version, at: this.#clock.nowMs() };
      this.calls.write(row === undefined ? write : { ...write, row });
    } else if (view === PRESENCE) {
      if (row === undefined) this.presence.delete(key);
      else this.presence.set(key, row as unknown as PresenceRow);
    }
  }
}
