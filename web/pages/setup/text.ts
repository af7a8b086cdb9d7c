import { defineText } from "../../text/i18n.ts";

const zh = {
  subtitle: "三步之内看到第一条曲线",
  password: "设置自己的密码",
  password_text: "终端上的密码只用于第一次登录。换成您自己的，或暂时保留。",
  keep: "保留现有密码",
  password_done: "密码已设置",
  password_kept: "保留了现有密码，可随时在设置中修改",
  device: "新建一台设备",
  device_text: "对话框会给出密钥和可直接粘贴的 mosquitto_pub 与 curl 命令。",
  device_done: "设备 {device} 已创建",
  new_device: "新建设备",
  watch: "发送一个值，看曲线变化",
  watch_text: "在终端中粘贴命令；设备页上的数值和曲线会立即变化。",
  open: "打开设备",
  demo: "也可以不接设备：用以下命令启动，系统内会运行一座小型示范工厂。",
  skip: "跳过，进入总览",
  step: "第 {n} 步",
};

const en: Record<keyof typeof zh, string> = {
  subtitle: "Three steps to a first chart that moves",
  password: "Set a password of your own",
  password_text:
    "The one on the terminal was for the first log-in. Replace it, or keep it for now.",
  keep: "Keep it",
  password_done: "Your password is set",
  password_kept: "Kept for now; the settings change it at any time",
  device: "Make a device",
  device_text: "The dialog gives its secret, and commands for mosquitto_pub and curl to paste.",
  device_done: "Device {device} is made",
  new_device: "New device",
  watch: "Send a value and see the chart move",
  watch_text:
    "Paste a command into a terminal: value and chart of the device's page change at once.",
  open: "Open the device",
  demo: "Without a device of your own: started like this, a small demo plant runs inside.",
  skip: "Skip, go to the overview",
  step: "Step {n}",
};

export const t = defineText("setup", { zh, en });
