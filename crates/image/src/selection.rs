use sealift_oci::Platform;

use crate::error::ImageError;

/// Which parts of an image an operation is about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Platforms of an index to process; the others are dropped. Empty: all, and nothing is dropped.
    pub platforms: Vec<Platform>,
    /// Layers of each image: 0 is the base, −1 the top. Empty: all.
    pub layers: Vec<i64>,
    /// Whether layers that registries must not store are fetched from their URLs' copy and processed too.
    pub include_nondistributable: bool,
}

impl Selection {
    /// Returns, for an image of `count` layers, which are selected.
    ///
    /// # Errors
    /// [`ImageError::LayerOutOfRange`]; nothing is wrapped around or clipped.
    pub(crate) fn layers_of(&self, count: usize) -> Result<Vec<bool>, ImageError> {
        if self.layers.is_empty() {
            return Ok(vec![true; count]);
        }
        let mut selected = vec![false; count];
        for &layer in &self.layers {
            let index = match usize::try_from(layer) {
                Ok(index) => Some(index),
                Err(_) => usize::try_from(layer.unsigned_abs())
                    .ok()
                    .and_then(|back| count.checked_sub(back)),
            };
            match index.and_then(|index| selected.get_mut(index)) {
                Some(selected) => *selected = true,
                None => {
                    return Err(ImageError::LayerOutOfRange {
                        layer,
                        layers: count,
                    });
                }
            }
        }
        Ok(selected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(layers: &[i64], count: usize) -> Result<Vec<bool>, String> {
        let selection = Selection {
            layers: layers.to_vec(),
            ..Selection::default()
        };
        selection
            .layers_of(count)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn counts_from_the_base_and_from_the_top() {
        assert_eq!(select(&[], 2), Ok(vec![true, true]));
        assert_eq!(select(&[0], 3), Ok(vec![true, false, false]));
        assert_eq!(select(&[-1, 0], 3), Ok(vec![true, false, true]));
        assert_eq!(select(&[-3], 3), Ok(vec![true, false, false]));
        assert_eq!(select(&[1, -2], 3), Ok(vec![false, true, false]));
    }

    #[test]
    fn refuses_layers_that_are_not_there() {
        for (layer, count) in [(3, 3), (-4, 3), (0, 0), (i64::MIN, 3), (i64::MAX, 3)] {
            let expected = ImageError::LayerOutOfRange {
                layer,
                layers: count,
            }
            .to_string();
            assert_eq!(select(&[layer], count), Err(expected));
        }
    }
}
