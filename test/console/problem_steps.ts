/** What a person reads of a refusal in Chinese. */
import assert from "node:assert/strict";
import { PHONE } from "../support/browser.ts";
import type { TestConsole } from "../support/console.ts";

/** The cause and what to do are Chinese; the server's words, with the names, stand below. */
export async function readsRefusals(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/products", {
    ...PHONE,
    language: "zh",
    theme: "dark",
  });
  const { page } = own;
  await page.getByRole("button", { name: "新建产品" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox").first().fill("pump");
  await dialog.getByRole("button", { name: "创建" }).click();
  const told = dialog.getByRole("alert").filter({ hasText: "pump" });
  const [cause, detail] = (await told.innerText()).split("\n");
  assert.match(cause!, /^当前状态不允许此操作.*请查看技术详情/);
  assert.match(detail!, /^技术详情：Cannot .*pump/);
  assert.deepEqual(await own.axe(), []);
  await page.goto("/devices/pump/no-such");
  await page.getByText("它可能已被删除，请返回列表查看。").waitFor();
  await page.getByText("找不到所请求的内容。").waitFor();
  await page.getByText(/^Cannot find .*no-such/).waitFor();
  assert.deepEqual(await own.axe(), []);
  assert.deepEqual(own.complaints, []);
}

/** Every fault of a draft is told in Chinese, whoever finds it: parser, console or server. */
export async function readsModelFaults(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/products/pump", { ...PHONE, language: "zh" });
  const { page } = own;
  await page.getByText("JSON", { exact: true }).click();
  const text = page.getByRole("textbox", { name: "物模型草稿" });
  const model = JSON.parse(await text.inputValue());
  await text.fill('{\n  "properties": [\n}');
  await page.getByText("第 3 行第 1 列不符合 JSON 语法").waitFor();
  await text.fill("[]");
  await page.getByText("应为 JSON 对象").waitFor();
  const typed = async (change: (property: Record<string, unknown>) => void) => {
    const draft = structuredClone(model);
    change(draft.properties[0]);
    await text.fill(JSON.stringify(draft));
  };
  await typed((property) => property.identifier = "no name");
  await page.getByText("properties.0.identifier").waitFor();
  await page.getByText("1 到 64 个字母、数字或").waitFor();
  assert.deepEqual(await own.axe(), []);
  const publish = page.getByRole("button", { name: "发布" });
  const refused = [
    [{ type: "double", specs: { maximum: 5 } }, "有不认识的字段"],
    [{ type: "bool", specs: { "0": "x".repeat(200) } }, "太大或太长"],
    [{ type: "enum", specs: { "0": 7 } }, "值的类型不对，或缺少必需的内容"],
  ] as const;
  for (const [dataType, told] of refused) {
    await typed((property) => property.dataType = dataType);
    await publish.click();
    await page.getByText("提交的内容不符合要求。").waitFor();
    await page.getByText("表单", { exact: true }).click();
    await page.getByRole("button", { name: /^Temperature/ }).getByText("1 处需要修改").waitFor();
    const feature = page.locator(".feature").first();
    if (await feature.locator(".form").count() === 0) await feature.locator(".open").click();
    assert.deepEqual(await feature.locator(".issue").allInnerTexts(), [told]);
    await page.getByText("JSON", { exact: true }).click();
  }
  await typed((property) => {
    property.accessMode = "rw";
    property.dataType = { type: "float", specs: { min: -40, max: 100, unit: "K" } };
  });
  await publish.click();
  const dialog = page.getByRole("dialog", { name: "发布 pump 的物模型" });
  await dialog.getByText("处破坏性变更").waitFor();
  const changes = (await dialog.locator("li .values").allInnerTexts()).map((each) =>
    each.replace(/\s+/g, " ").trim()
  );
  assert.deepEqual(changes, ["125 100", "°C K", "只读 读写", "浮点数 单精度浮点数"]);
  assert.deepEqual(await own.axe(), []);
  assert.deepEqual(await own.cutTexts(), []);
  assert.deepEqual(own.complaints, []);
}
