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
