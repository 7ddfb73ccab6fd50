// The only script of the pages. It adds buttons that copy commands; pages are complete without it.

export const script = `
for (const box of document.querySelectorAll(".snippet")) {
  const text = box.querySelector("pre").textContent;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  const told = document.createElement("span");
  told.className = "unseen";
  told.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without HTTPS there is no clipboard: the text is selected instead, for the user to copy.
      getSelection().selectAllChildren(box.querySelector("pre"));
      document.execCommand("copy");
    }
    button.textContent = told.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; told.textContent = ""; }, 2000);
  });
  box.append(button, told);
}
`;
