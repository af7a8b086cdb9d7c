/** Lets the person save a text as a file. @param name Of the file. */
export function saveText(name: string, type: string, text: string): void {
  // Spreadsheets take a file for UTF-8 by its mark.
  const url = URL.createObjectURL(new Blob(["\uFEFF", text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
