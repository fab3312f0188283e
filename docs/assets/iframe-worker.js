// The search runs in a worker, and a page of file:// may start none. There a hidden frame does the
// worker's work: it loads the same script, and the two talk through postMessage.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.document.open();
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.postMessage = (data) => {
        this.loaded.then(() => inside.dispatchEvent(new MessageEvent("message", { data })));
      };
      const script = inside.document.createElement("script");
      this.loaded = new Promise((resolve) => script.addEventListener("load", resolve));
      script.src = url;
      inside.document.write("<!doctype html><title>search</title>");
      inside.document.close();
      inside.document.head.append(script);
    }
    terminate() {}
  };
}
