<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Tests\Support;

/**
 * A document under docs/ whose blocks are carried out by a test.
 */
final class Guide
{
    /**
     * Its blocks of one language, such as `sh`, in their order.
     *
     * @param  string|null  $heading  of the section that has them; null: all of the document
     * @return list<string>
     */
    public static function blocks(string $document, string $language, ?string $heading = null): array
    {
        $text = (string) file_get_contents(dirname(__DIR__, 3)."/docs/{$document}");

        if ($heading !== null) {
            $text = explode("\n## ", explode("\n## {$heading}\n", $text, 2)[1] ?? '', 2)[0];
        }

        preg_match_all("/^```{$language}\\n(.*?)^```$/ms", $text, $matches);

        return $matches[1];
    }
}
