/**
 * Reminders of one batch, merged by time with its records: the stored ones that the batch brought,
 * and what actors set and cancelled meanwhile. Fractions of a millisecond are kept as given.
 */
import type { Address } from "./address.ts";
import type { Reminder, ReminderWrite } from "./batch.ts";

interface Waiting {
  readonly reminder: Reminder;
  /** Breaks ties: stored ones in their order, then set ones in theirs. */
  readonly sequence: number;
  /** False: fired, cancelled or replaced; skipped when it comes up. */
  isLive: boolean;
}

export class ReminderMerge {
  readonly #waiting = new Map<string, Waiting>();
  /** Binary heap by (due time, sequence). */
  readonly #heap: Waiting[] = [];
  readonly #writes = new Map<string, ReminderWrite>();
  #sequence = 0;

  constructor(stored: readonly Reminder[]) {
    for (const reminder of stored) this.#add(reminder);
  }

  /** Due time of the earliest; Infinity if there is none. */
  get nextDueMs(): number {
    this.#dropDead();
    return this.#heap[0]?.reminder.dueAtMs ?? Infinity;
  }

  /** The earliest one if it is due by `untilMs`. It stays until `fired`. */
  due(untilMs: number): Reminder | undefined {
    this.#dropDead();
    const first = this.#heap[0];
    return first !== undefined && first.reminder.dueAtMs <= untilMs ? first.reminder : undefined;
  }

  /** The reminder was handed to its actor, or parked: it is removed unless it is set again. */
  fired(reminder: Reminder): void {
    this.apply({ to: reminder.to, name: reminder.name });
  }

  /** Takes effect at once: a set one may be next, a cancelled one does not fire. */
  apply(write: ReminderWrite): void {
    const key = keyOf(write.to, write.name);
    const former = this.#waiting.get(key);
    if (former !== undefined) former.isLive = false;
    this.#waiting.delete(key);
    this.#writes.delete(key); // In order of the last word: the store breaks ties by it.
    this.#writes.set(key, write);
    if (write.reminder !== undefined) this.#add(write.reminder);
  }

  /** What the commit has to write: the last word on each reminder. */
  writes(): ReminderWrite[] {
    return [...this.#writes.values()];
  }

  #add(reminder: Reminder): void {
    const waiting = { reminder, sequence: this.#sequence++, isLive: true };
    this.#waiting.set(keyOf(reminder.to, reminder.name), waiting);
    this.#heap.push(waiting);
    this.#rise(this.#heap.length - 1);
  }

  #dropDead(): void {
    while (this.#heap.length > 0 && !this.#heap[0]!.isLive) {
      const last = this.#heap.pop()!;
      if (this.#heap.length === 0) return;
      this.#heap[0] = last;
      this.#sink();
    }
  }

  #rise(index: number): void {
    const heap = this.#heap;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(heap[index]!, heap[parent]!)) return;
      [heap[index], heap[parent]] = [heap[parent]!, heap[index]!];
      index = parent;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    for (let index = 0;;) {
      let least = index;
      for (let child = 2 * index + 1; child <= 2 * index + 2 && child < heap.length; child++) {
        if (isBefore(heap[child]!, heap[least]!)) least = child;
      }
      if (least === index) return;
      [heap[index], heap[least]] = [heap[least]!, heap[index]!];
      index = least;
    }
  }
}

function keyOf(to: Address, name: string): string {
  return `${to} ${name}`;
}

function isBefore(a: Waiting, b: Waiting): boolean {
  const byDue = a.reminder.dueAtMs - b.reminder.dueAtMs;
  return byDue < 0 || byDue === 0 && a.sequence < b.sequence;
}
