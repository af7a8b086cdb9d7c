import assert from "node:assert/strict";
import { compileModel } from "../../../actors/product/compiled_model.ts";
import { parseThingModel } from "../../../actors/product/thing_model.ts";
import { seededRandom } from "../../../runtime/random.ts";
import { PLANT } from "./plant.ts";

const STEPS = 20_000;
const START_MS = 1_700_000_000_000;

for (const product of PLANT) {
  Deno.test(`things of ${product.key} keep to their model over days of calls and wishes`, () => {
    const parsed = parseThingModel(product.model);
    assert.ok(parsed.ok, JSON.stringify(parsed));
    const model = compileModel(parsed.model, "strict");
    const random = seededRandom(11);
    const thing = product.create(random);
    const services = parsed.model.services.map(({ identifier }) => identifier);
    const raised = new Set<string>();
    for (let i = 0; i < STEPS; i++) {
      const { values, events } = thing.step(START_MS + i * 20_000, 20);
      assert.ok(model.accepts(values), JSON.stringify(values));
      for (const { event, output } of events) {
        raised.add(event);
        assert.deepEqual(model.eventIssues(event, { ...output }, ""), []);
      }
      if (random.fraction() < 0.98) continue;
      const service = services[Math.floor(random.fraction() * services.length)]!;
      const result = thing.call(service, { speed: 3_000 });
      if (result.ok) {
        assert.deepEqual(model.callIssues(service, "output", { ...result.output }), []);
      }
      thing.desire({ speed: -5, locked: random.fraction() < 0.5, other: null });
      if (service === "start") thing.desire({ speed: 3_000 });
    }
    const all = parsed.model.events.map(({ identifier }) => identifier);
    assert.deepEqual([...raised].sort(), all.sort(), "every event of the model comes about");
    assert.equal(thing.call("explode", {}).ok, false);
  });
}
