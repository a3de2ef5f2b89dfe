<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Config;

use Closure;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Foundation\Application;

/**
 * What `fanfare` is configured to in the application that is served now. Asked for each broadcast, it asks the
 * container only once for each application.
 */
final class ServedConfiguration
{
    private ?Application $served = null;

    private ?Repository $repository = null;

    /**
     * @param  Closure(): Application  $app
     */
    public function __construct(private readonly Closure $app) {}

    /**
     * @return array<array-key, mixed>
     */
    public function read(): array
    {
        $app = ($this->app)();

        if ($this->repository === null || $app !== $this->served) {
            $this->repository = $app->make(Repository::class);
            $this->served = $app;
        }

        $fanfare = $this->repository->get('fanfare');

        return is_array($fanfare) ? $fanfare : [];
    }
}
