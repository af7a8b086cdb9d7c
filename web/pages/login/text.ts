import { defineText } from "../../text/i18n.ts";

const zh = {
  title: "登录",
  name: "用户名",
  password: "密码",
  submit: "登录",
  name_needed: "请输入用户名",
  password_needed: "请输入密码",
  wrong: "用户名或密码不正确。",
  locked: "失败次数过多，请在 {seconds} 秒后重试。",
  ended: "会话已结束，请重新登录。",
  first: "首次启动？",
  first_text: "用户 owner 的密码在首次启动时只在终端显示一次，紧跟在这行之后：",
  first_line: 'User "owner" was made; its password, shown once:',
  tagline: "每一条消息都有去处。",
};

const en: Record<keyof typeof zh, string> = {
  title: "Log in",
  name: "Name",
  password: "Password",
  submit: "Log in",
  name_needed: "Enter your name",
  password_needed: "Enter your password",
  wrong: "Name or password is wrong.",
  locked: "Too many wrong attempts: try again in {seconds} s.",
  ended: "Your session has ended: log in again.",
  first: "First start?",
  first_text: "The password of the user owner was shown once on the terminal, after this line:",
  first_line: 'User "owner" was made; its password, shown once:',
  tagline: "Every message accounted for.",
};

export const t = defineText("login", { zh, en });
