// The build: hashed names, no inline script or style, and each page in a chunk of its own.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Where `npm run dev` finds a server; `tesela serve` prints the address.
const server = process.env["TESELA_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig(({ mode }) => ({
  plugins: [svelte()],
  // Vitest runs in Node: without this condition Svelte would give it its server's half.
  resolve: mode === "test" ? { conditions: ["browser"] } : {},
  build: {
    outDir: process.env["TESELA_WEB_OUT"] ?? "../src/tesela/static",
    emptyOutDir: true,
    target: "es2022",
    // Older ones do not know `light-dark()`, and what stands in for it follows the system and not our switch.
    cssTarget: ["chrome123", "edge123", "firefox120", "safari17.5"],
    // A policy without `unsafe-inline` and `data:` scripts: nothing may be written into the page itself.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/serving-endpoints", "/v1", "/oidc", "/health"].map((path) => [path, { target: server }]),
    ),
  },
  test: { environment: "jsdom", include: ["tests/**/*.test.ts"] },
}));
