// Puts the two browser builds where the page loads them from: no CDN and no bundler.
import { copyFileSync, mkdirSync } from 'node:fs';

const from = (path) => new URL(`node_modules/${path}`, import.meta.url);
const to = (name) => new URL(`public/vendor/${name}`, import.meta.url);

mkdirSync(new URL('public/vendor/', import.meta.url), { recursive: true });
copyFileSync(from('pusher-js/dist/web/pusher.min.js'), to('pusher.min.js'));
copyFileSync(from('laravel-echo/dist/echo.iife.js'), to('echo.iife.js'));
