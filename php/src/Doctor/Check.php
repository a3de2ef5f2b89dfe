<?php

declare(strict_types=1);

namespace Fanfare\Laravel\Doctor;

/**
 * One question about the installation. A check changes nothing.
 */
interface Check
{
    /** What is looked at, in one or two words. */
    public function title(): string;

    /**
     * @return iterable<Finding>  at least one
     */
    public function findings(Subject $subject): iterable;
}
