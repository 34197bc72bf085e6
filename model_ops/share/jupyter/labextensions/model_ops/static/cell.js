// JupyterLab goes to the cell that #cell-id=… names when a link is clicked, but not when a page is opened with it:
// the address is read before the notebook is there. This waits for the notebook. It needs no build: it takes nothing
// from JupyterLab but the application that it is handed.
(() => {
  const activate = app => {
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
  const plugin = { id: "model_ops:cell", description: "Opens a notebook at the cell that its address names.", autoStart: true, activate };
  (window._JUPYTERLAB ??= {}).model_ops = { init: () => {}, get: async () => () => ({ __esModule: true, default: plugin }) };
})();
