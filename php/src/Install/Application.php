<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Install;

/**
 * Where the files of a Laravel application are.
 */
final readonly class Application
{
    /**
     * @param  string  $stubs  the framework's own stubs of install:broadcasting
     */
    public function __construct(
        public string $base,
        public string $env,
        public string $config,
        public string $bootstrap,
        public string $resources,
        public string $stubs,
    ) {}

    public function stub(string $name): string
    {
        return (string) Change::content("{$this->stubs}/{$name}.stub");
    }

    /**
     * The path as the person at the terminal would write it.
     */
    public function shown(string $path): string
    {
        return str_starts_with($path, "{$this->base}/") ? substr($path, strlen($this->base) + 1) : $path;
    }

    public function usesNode(string $package): bool
    {
        $manifest = json_decode((string) Change::content("{$this->base}/package.json"), true);

        return is_array($manifest) && (isset($manifest['dependencies'][$package]) || isset($manifest['devDependencies'][$package]));
    }

    public function hasFrontend(): bool
    {
        return is_file("{$this->base}/package.json") || is_dir("{$this->resources}/js");
    }
}
