/** What a person does with groups of devices. */
import assert from "node:assert/strict";
import { PHONE } from "../support/browser.ts";
import type { TestConsole } from "../support/console.ts";

/** A tree is made, changed and taken down; its devices stay. */
export async function keepsGroups(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/groups");
  const { page } = own;
  const tree = page.getByRole("tree", { name: "Tree of groups" });
  await page.getByRole("button", { name: "New group", exact: true }).click();
  const making = page.getByRole("dialog", { name: "New group" });
  await making.getByRole("button", { name: "Create" }).click();
  await making.getByText("This is needed").waitFor();
  assert.deepEqual(await own.axe(), []);
  await making.getByLabel("Name").fill("Yard");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Yard", exact: true }).waitFor();
  await page.getByText("No devices are in this group yet").waitFor();
  await page.getByRole("button", { name: "New group in it" }).click();
  await making.getByLabel("Name").fill("Gate");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Yard / Gate" }).waitFor();
  await page.getByRole("button", { name: "Rename or move" }).click();
  const changing = page.getByRole("dialog", { name: "Change group “Gate”" });
  await changing.getByLabel("Name").fill("North gate");
  await page.locator(".el-select", { has: page.getByRole("combobox", { name: "In group" }) })
    .click();
  await page.getByRole("option", { name: "Plant / Hall 2" }).click();
  await changing.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Plant / Hall 2 / North gate" }).waitFor();
  await tree.getByRole("treeitem", { name: "Plant" }).focus();
  await page.keyboard.press("ArrowLeft");
  await tree.getByText("North gate").waitFor({ state: "detached" });
  await page.keyboard.press("ArrowRight");
  await tree.getByText("North gate").waitFor();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Plant / Hall 1", exact: true }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Delete" }).isDisabled(), "a group is in it");
  await tree.getByText("North gate").click();
  await addsMembers(stage);
  await page.reload();
  await page.getByText("pump/p-05").waitFor();
  await page.getByRole("button", { name: "Delete" }).click();
  const removal = page.getByRole("dialog", { name: "Delete group “North gate”" });
  await removal.getByText("Its devices stay, and are in it no more").waitFor();
  await removal.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { name: "Plant / Hall 2", exact: true }).waitFor();
  await tree.getByText("North gate").waitFor({ state: "detached" });
  const api = await stage.roost.api();
  await api.request("GET", "/api/v1/devices/pump/p-05");
  assert.deepEqual(own.complaints, []);
}

/** By search on the page, and by the bar of the list of devices; out again by the list of members. */
async function addsMembers(stage: TestConsole): Promise<void> {
  await using own = await stage.openAt("/groups");
  const { page } = own;
  await page.getByRole("treeitem", { name: "North gate" }).click();
  await page.getByRole("button", { name: "Add devices" }).click();
  const adding = page.getByRole("dialog", { name: "Add devices to “North gate”" });
  await adding.getByLabel("Search devices by name").fill("p-05");
  await adding.getByText("pump/p-06").waitFor({ state: "detached" });
  await adding.getByRole("button", { name: "Add pump/p-05" }).click();
  await adding.getByText("Added").waitFor();
  assert.deepEqual(await own.axe(), []);
  await adding.getByRole("button", { name: "Done" }).click();
  const members = page.getByRole("grid", { name: "Devices of “North gate”" });
  await members.getByText("pump/p-05").waitFor();
  await page.goto("/devices?q=p-0");
  for (const name of ["p-06", "p-07"]) await page.getByLabel(`Select row pump/${name}`).check();
  await page.getByRole("button", { name: "Groups", exact: true }).click();
  const chosen = page.getByRole("dialog", { name: "Groups of 2 devices" });
  await page.locator(".el-dialog .el-select", {
    has: page.getByRole("combobox", { name: "Group" }),
  }).click();
  await page.getByRole("option", { name: "Plant / Hall 2 / North gate" }).click();
  await chosen.getByRole("button", { name: "Put into the group" }).click();
  await chosen.waitFor({ state: "hidden" });
  await page.goto("/groups");
  await page.getByRole("treeitem", { name: "North gate" }).click();
  await members.getByText("pump/p-07").waitFor();
  for (const name of ["p-06", "p-07"]) await page.getByLabel(`Select row pump/${name}`).check();
  assert.deepEqual(await own.axe(), []);
  await page.getByRole("button", { name: "Take 2 out" }).click();
  await members.getByText("pump/p-07").waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Show in the list of devices" }).click();
  await page.getByText("1 row", { exact: true }).waitFor();
  assert.deepEqual(own.complaints, []);
}

/** A viewer sees the tree and its devices, and no act. */
export async function viewsGroups(stage: TestConsole): Promise<void> {
  const api = await stage.roost.api();
  const password = "a long password";
  await api.request("POST", "/api/v1/users", { name: "vera", role: "viewer", password });
  await using own = await stage.open({ ...PHONE, language: "zh", theme: "dark" });
  await own.logIn("vera", password);
  const { page } = own;
  await page.goto("/groups");
  await page.getByRole("treeitem", { name: "Hall 1" }).click();
  await page.getByText("pump/p-02").waitFor();
  await page.getByText("包括下级分组中的设备").waitFor();
  for (const act of ["新建分组", "重命名或移动", "删除", "添加设备"]) {
    assert.equal(await page.getByRole("button", { name: act }).count(), 0, act);
  }
  assert.equal(await page.getByRole("checkbox").count(), 0);
  assert.deepEqual(await own.axe(), []);
  assert.deepEqual(own.complaints, []);
}
