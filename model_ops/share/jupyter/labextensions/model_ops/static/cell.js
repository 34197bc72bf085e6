// Two things that a page of a workbook needs of JupyterLab. They need no build: they take nothing from it but the application that they are handed.
(() => {
  // JupyterLab goes to the cell that #cell-id=… names when a link is clicked, but not when a page is opened with it:
  // the address is read before the notebook is there. This waits for the notebook.
  const open = app => {
    const [, id] = /^#cell-id=([\w-]+)$/.exec(location.hash) ?? [];
    const path = decodeURIComponent(location.pathname.split("/tree/")[1] ?? "");
    if (!id || !path) return;
    const go = async () => {
      const panel = app.shell.currentWidget;
      if (panel?.context?.path !== path || !panel.content?.widgets) return;
      app.shell.currentChanged?.disconnect(go);
      await panel.context.ready;
      await panel.revealed;
      const index = panel.content.widgets.findIndex(cell => cell.model.id === id);
      if (index < 0) return;
      panel.content.activeCellIndex = index;
      await panel.content.scrollToItem(index, "center");
    };
    app.restored.then(() => { app.shell.currentChanged?.connect(go); go(); });
  };
  // In a list or a slider of an explorer, an arrow would select the next cell, and the letter d pressed twice would delete this one.
  // Plain keys belong to the control that has the focus; Shift+Enter, Ctrl+S and Escape stay JupyterLab's.
  const keys = () => addEventListener("keydown", event => {
    const control = event.target, ctrl = event.ctrlKey || event.metaKey;
    if (!control.closest?.(".mo-panel")) return;
    const moves = /^(Arrow|Page|Home$|End$| $)/.test(event.key), types = event.key.length === 1 || event.key === "Enter" && !event.shiftKey;
    control.toggleAttribute("data-lm-suppress-shortcuts", !event.altKey && (moves || types && !ctrl));
  }, true);
  const plugins = [
    { id: "model_ops:cell", description: "Opens a notebook at the cell that its address names.", autoStart: true, activate: open },
    { id: "model_ops:keys", description: "Leaves plain keys to the controls of an explorer.", autoStart: true, activate: keys },
  ];
  (window._JUPYTERLAB ??= {}).model_ops = { init: () => {}, get: async () => () => ({ __esModule: true, default: plugins }) };
})();
