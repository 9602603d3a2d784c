"""What an ensemble gains over its best member (section 4.2.3). A pure function of predictions."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def ensemble_gain(probabilities: Values, labels: npt.NDArray[np.int64], validation: Values) -> float:
    """The test error, in percentage points, of the mean of the members' class probabilities [members, examples,
    classes], minus that of the member with the highest `validation` accuracy [members], the first where equal. It is
    negative where the ensemble is better."""
    together = probabilities.mean(axis=0).argmax(axis=-1) != labels
    alone = probabilities[int(np.argmax(validation))].argmax(axis=-1) != labels
    return 100 * float(together.mean() - alone.mean())
